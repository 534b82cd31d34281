# SPDX-License-Identifier: Apache-2.0
"""What tests with a real browser share: one stack and one browser of a kind for a file, and the person's steps."""

import unittest

from chromium import Chromium
from enrolling import Enrolling
from listener import free_port
from stack import APP, SERVER, Stack
from story import StackTest

FINAL_PAGE = "Back to the terminal"


class BrowserTest(StackTest):
    """Beside the app whose redirect URI takes any port there are three with a fixed one. All classes share the
    stack, and those that want a browser of the same kind the browser."""

    javascript = True
    started = {}

    @classmethod
    def setUpClass(cls):
        if "stack" not in cls.started:
            cls.start_stack()
        if cls.javascript not in cls.started:
            cls.started[cls.javascript] = Chromium(cls.stack, javascript=cls.javascript)
            unittest.addModuleCleanup(cls.started[cls.javascript].close)
        cls.browser = cls.started[cls.javascript]

    @classmethod
    def start_stack(cls):
        port = free_port()
        uris = {"localhost": f"http://localhost:{port}/callback",
                "ipv6": f"http://[::1]:{port}/callback",
                "ipv4": f"http://127.0.0.1:{port}/callback"}
        apps = [{"client_id": "growth-chart", "software_id": "growth-chart-software", "name": "Growth Chart",
                 "redirect_uris": ["http://127.0.0.1/callback"]}]
        extra = ""
        for name, uri in uris.items():
            apps.append({"client_id": name, "software_id": f"{name}-software", "name": f"Fixed {name}",
                         "redirect_uris": [uri]})
            extra += f"""
[[app]]
id = "org.example.{name}"
name = "Fixed {name}"
redirect_uris = ["{uri}"]
scopes = ["launch/patient", "patient/*.rs"]
[[app.client]]
servers = ["*"]
client_id = "{name}"
software_id = "{name}-software"
"""
        BrowserTest.port, BrowserTest.secrets = port, set()
        BrowserTest.stack = cls.started["stack"] = Stack()
        unittest.addModuleCleanup(cls.stack.close)
        unittest.addModuleCleanup(cls.started.clear)  # another file in the same process starts its own
        cls.stack.start(ehr_config={"apps": apps}, extra=extra)

    def setUp(self):
        super().setUp()
        self.browser.forget()

    def enrolling(self, *args, app=APP, **options):
        return Enrolling(self.stack, "--app", app, *args, **options)

    def log_in(self, url):
        self.browser.open(url)
        self.browser.wait_for_title("Sign in")
        self.browser.fill_in("username", "alice")
        self.browser.fill_in("password", "alice-password")
        self.browser.press("Sign in")
        self.browser.wait_for_title("Whose record?")

    def go_through(self, url, patient="pat-1", decision="Allow"):
        """From the login to the decision."""
        self.log_in(url)
        self.browser.choose(patient)
        self.browser.press("Continue")
        self.browser.wait_for_title("Allow")
        self.browser.press(decision)

    def assert_final_page(self, enrolling):
        """The page has no trace of the login, whose result is still being made."""
        self.browser.wait_for_title(FINAL_PAGE)
        origin = "/".join(enrolling.redirect_uri.split("/")[:3])
        self.assertEqual(self.browser.url, f"{origin}/done")
        for trace in ("code", enrolling.state):
            self.assertNotIn(trace, self.browser.source)
        for url in self.browser.history():
            self.assertFalse(url.startswith(enrolling.redirect_uri) and enrolling.state in url)

    def assert_enrolled(self, enrolling, patient="pat-1"):
        result = enrolling.wait()
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
        self.assertIn("Enrolled:", result.out)
        self.assertNotIn(enrolling.state, result.out.replace(enrolling.url, ""))
        token = self.token(SERVER)
        self.assertEqual(self.stack.fhir_get(f"Patient/{patient}", token)["id"], patient)

    def assert_given_up(self, result, code, *words):
        self.assert_refused(result, code, *words)
        self.assertEqual(self.stack.requests("/register"), [])
        self.assert_nothing_left()
