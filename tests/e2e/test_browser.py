# SPDX-License-Identifier: Apache-2.0
"""Enrolling with a real browser: the hospital's pages, the way back, and all that can go wrong on it."""

import os
import unittest
import urllib.error
import urllib.parse
import urllib.request

from browser_story import FINAL_PAGE, BrowserTest
from chromium import Chromium
from listener import Listener, free_port
from stack import ALICE, BOB, wait_for

def status_of(url):
    """What a second request to it is answered with; None when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return None


class InTheBrowser(BrowserTest):
    def test_LoginPatientAndConsentEndOnAPageWithNothingInItsAddress(self):
        with self.enrolling() as enrolling:
            self.go_through(enrolling.url, patient="pat-2")
            self.assert_final_page(enrolling)
            self.assertEqual(self.browser.evaluate("document.referrer"), "")
            self.assertEqual(self.browser.evaluate("document.scripts.length"), 0)
            self.assert_enrolled(enrolling, "pat-2")

    def test_TheDesktopsBrowserIsSentOnByAPageOfTheUsersOwn(self):
        runtime = self.stack.make_user_dir("runtime", ALICE)
        opened = os.path.join(runtime, "opened")
        program = os.path.join(runtime, "xdg-open")
        with open(program, "w", encoding="utf-8") as file:  # the desktop's, which would start a browser
            file.write(f"#!/bin/sh\nprintf '%s' \"$1\" > {opened}.new && mv {opened}.new {opened}\n")
        os.chmod(program, 0o755)
        environment = {"PATH": f"{runtime}:/usr/bin:/bin", "DISPLAY": ":0", "XDG_RUNTIME_DIR": runtime}
        with self.enrolling(env=environment) as enrolling:
            enrolling.wait_until_said("The browser was asked to open this address")
            wait_for(lambda: os.path.exists(opened), "the desktop to be asked")
            with open(opened, encoding="utf-8") as file:
                page = file.read()
            self.assertTrue(page.startswith(runtime) and page.endswith(".html"), page)
            self.go_through(f"file://{page}")
            self.assert_final_page(enrolling)
            self.assert_enrolled(enrolling)
            self.assertFalse(os.path.exists(page))

    def test_DenialIsToldInTheTerminalAndLeavesNothing(self):
        with self.enrolling() as enrolling:
            self.go_through(enrolling.url, decision="Deny")
            self.assert_final_page(enrolling)
            self.assert_given_up(enrolling.wait(), 4, "not allowed", "begin again and allow")

    def test_AForgedRedirectIsNotFoundAndTheRightOneStillCounts(self):
        with self.enrolling() as enrolling:
            for query in ("code=stolen&state=forged", "code=stolen", "error=access_denied&state=forged"):
                self.browser.open(f"{enrolling.redirect_uri}?{query}")
                self.assertNotEqual(self.browser.title, FINAL_PAGE)
            self.go_through(enrolling.url)
            self.assert_final_page(enrolling)
            self.assert_enrolled(enrolling)
        exchanges = [r for r in self.stack.requests("/token") if r.get("grant_type") == "authorization_code"]
        self.assertEqual(len(exchanges), 1)

    def test_ASecondHitGetsNothingWhileTheFirstIsAtWorkAndNobodyAnswersAfterwards(self):
        self.stack.switches(delay_ms={"register": 1500})
        with self.enrolling() as enrolling:
            self.go_through(enrolling.url)
            self.assert_final_page(enrolling)
            again = f"{enrolling.redirect_uri}?code=another&state={urllib.parse.quote(enrolling.state)}"
            self.assertEqual(status_of(again), 404)
            self.assert_enrolled(enrolling)
            self.assertIsNone(status_of(again))

    def test_AClosedTabIsExplainedWhenTheTimeIsOver(self):
        with self.enrolling("--wait", "3s") as enrolling:
            self.log_in(enrolling.url)
            self.browser.open("about:blank")
            self.assert_given_up(enrolling.wait(), 4, "did not come back", "Usual causes", "begin again")

    def test_CtrlCGivesUpAndTheLateRedirectReachesNobody(self):
        with self.enrolling() as enrolling:
            self.log_in(enrolling.url)
            enrolling.interrupt()
            result = enrolling.wait()
            self.assertEqual(result.code, 1, str(result))
            self.assertIn("given up", result.out)
            self.assertIsNone(status_of(enrolling.redirect_uri + "?code=late&state=late"))
        self.assert_nothing_left()

    def test_ADeadEndpointIsToldBeforeAnyAddressIsShown(self):
        dead = f"http://127.0.0.1:{free_port()}/oauth"
        for member in ("authorization_endpoint", "token_endpoint", "registration_endpoint"):
            with self.subTest(member):
                self.stack.switches(discovery={"value": "override", "set": {member: f"{dead}/x"}})
                with self.enrolling() as enrolling:
                    result = enrolling.wait()
                self.assertNotIn("code_challenge", result.out)
                self.assertIn(dead.split("/")[2], result.out)
                self.assert_given_up(result, 5, "connect|reach|refused")


class WithoutJavaScript(BrowserTest):
    javascript = False

    def test_EveryPageWorksAllTheSame(self):
        self.browser.open("data:text/html,<title>off</title><script>document.title='on'</script>")
        self.assertEqual(self.browser.title, "off")
        with self.enrolling() as enrolling:
            self.go_through(enrolling.url)
            self.assert_final_page(enrolling)
            self.assert_enrolled(enrolling)


class FixedPorts(BrowserTest):
    def test_LocalhostIPv4AndIPv6AreEachReachedByTheirSpelling(self):
        for name in ("localhost", "ipv4", "ipv6"):
            with self.subTest(name):
                self.setUp()
                with self.enrolling(app=f"org.example.{name}") as enrolling:
                    self.assertIn(f":{self.port}/", enrolling.redirect_uri)
                    self.go_through(enrolling.url)
                    self.assert_final_page(enrolling)
                    self.assert_enrolled(enrolling)

    def test_ABusyPortIsSaidBeforeAnythingIsBegun(self):
        for name, address in (("ipv4", "127.0.0.1"), ("localhost", "::1"), ("localhost", "127.0.0.1")):
            with self.subTest(name), Listener(address, self.port) as squatter:
                with self.enrolling(app=f"org.example.{name}") as enrolling:
                    result = enrolling.wait()
                self.assert_given_up(result, 4, f"port {self.port}", "--no-browser")
                self.assertNotIn("code_challenge", result.out)
                self.assertEqual(squatter.targets, [])

    def test_WhatASquatterSeesIsOfNoUseToItAndPastingWorks(self):
        with Listener("127.0.0.1", self.port) as squatter:
            with self.enrolling("--no-browser", app="org.example.ipv4") as enrolling:
                enrolling.wait_until_said("the redirect must be pasted")
                self.go_through(enrolling.url)
                self.browser.wait_for_title("Elsewhere")
                # It has code and state. Without the verifier the server gives it no token, ...
                query = dict(urllib.parse.parse_qsl(squatter.targets[0].split("?")[1]))
                self.assertEqual(query["state"], enrolling.state)
                # ... and another user's enrollment is not there for it.
                self.assertEqual(self.registrations(BOB), [])
                enrolling.paste(self.browser.url)
                self.assert_enrolled(enrolling)
                self.assertNotIn(query["code"], enrolling.said)

    def test_ACodeThatASquatterTriedFirstIsSpentAndLeavesNothing(self):
        with Listener("127.0.0.1", self.port) as squatter:
            with self.enrolling("--no-browser", app="org.example.ipv4") as enrolling:
                self.go_through(enrolling.url)
                self.browser.wait_for_title("Elsewhere")
                code = dict(urllib.parse.parse_qsl(squatter.targets[0].split("?")[1]))["code"]
                form = {"grant_type": "authorization_code", "code": code, "client_id": "ipv4",
                        "redirect_uri": enrolling.redirect_uri, "code_verifier": "a" * 43}
                with self.assertRaises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(self.stack.ready["token_endpoint"],
                                           urllib.parse.urlencode(form).encode(), timeout=30)
                self.assertEqual(refused.exception.code, 400)
                refused.exception.close()
                enrolling.paste(self.browser.url)
                self.assert_given_up(enrolling.wait(), 4, "authorization code")


class OverSsh(BrowserTest):
    environment = {"SSH_CONNECTION": "198.51.100.7 50122 192.0.2.1 22"}

    def test_TheForwardingIsToldAndWorks(self):
        # The forwarding itself is ssh's: here the browser is on this machine, and its port the same.
        with self.enrolling("--no-browser", env=self.environment) as enrolling:
            port = enrolling.redirect_uri.split(":")[2].split("/")[0]
            enrolling.wait_until_said(rf"ssh -N -L {port}:127\.0\.0\.1:{port} {ALICE}@192\.0\.2\.1$")
            self.go_through(enrolling.url)
            self.assert_final_page(enrolling)
            self.assert_enrolled(enrolling)

    def test_TheAddressOfTheBrowsersLastPageCanBePasted(self):
        self.browser = Chromium(self.stack, only=urllib.parse.urlsplit(self.stack.ready["fhir_base"]).netloc)
        self.addCleanup(self.browser.close)
        with self.enrolling("--no-browser", env=self.environment) as enrolling:
            enrolling.wait_until_said("paste")
            self.go_through(enrolling.url)
            wait_for(lambda: self.browser.url.startswith(enrolling.redirect_uri), "the browser's last page")
            last = self.browser.url
            enrolling.paste("this is not it")
            enrolling.wait_until_said("Paste the whole address")
            enrolling.paste(last.replace(enrolling.state, "forged"))
            enrolling.wait_until_said("belongs to another login")
            enrolling.paste(last)
            self.assert_enrolled(enrolling)


if __name__ == "__main__":
    unittest.main()
