# SPDX-License-Identifier: Apache-2.0
"""Items 1 to 7 of docs/conformance.md: finding a server's endpoints, and bad documents."""

import threading
import unittest

from conformance import ALICE, BOUND, ConformanceTest
from listener import Listener
from stack import APP, wait_for

JSON_TOO_DEEP = '{"a":' * 100 + "1" + "}" * 100


class Discovery(ConformanceTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        base = cls.stack.ready["fhir_base"]
        extra = f"""
[[server]]
name = "slash"
fhir_base = "{base}/"
allow_loopback_http = true
[[server]]
name = "epic"
fhir_base = "{base}"
profile = "epic"
allow_loopback_http = true
"""
        cls.stack.stop("smartkeyd")
        cls.stack.write_config(extra=extra)
        cls.stack.start_daemon()

    def documents_asked_for(self):
        return [r["path"] for r in self.stack.control("log") if r["method"] == "GET"]

    def refused(self, server="sandbox"):
        """Enrolling ends before anybody is sent to a browser, with nothing half-made."""
        result = self.enroll_with_token(server=server)
        error = self.error_of(result)
        self.assertEqual(self.registrations_sent(), [])
        self.assert_nothing_left()
        self.assertIn(self.stack.ready["fhir_base"].split("/")[2], error["message"])
        return error

    def test_item_01_ABaseWithAPathIsAskedWithOneSlash(self):
        for server in ("sandbox", "slash"):
            with self.subTest(server):
                self.setUp()
                self.assert_enrolled_with_token(server=server)
                self.assertEqual(self.documents_asked_for(), ["/fhir/.well-known/smart-configuration"])

    def test_item_02_EpicIsToldTheInitialClientIdInMetadataAndNowhereElse(self):
        self.stack.switches(discovery="no_registration_endpoint")
        self.assert_enrolled_with_token(server="epic")
        log = self.stack.control("log")
        self.assertEqual([r.get("epic_client_id") for r in log if r["has_epic_client_id"]], ["growth-chart"])
        self.assertEqual([r["path"] for r in log if r["has_epic_client_id"]], ["/fhir/metadata"])
        self.assertIn("/oauth/register", [r["path"] for r in log])

    def test_item_02_OthersAreNotToldAndAreSaidToKnowNoRegistration(self):
        self.stack.switches(discovery="no_registration_endpoint", rfc8414="not_found")
        self.assertEqual(self.refused()["reason"], "NO_DYNAMIC_REGISTRATION")
        self.assertIn("/fhir/metadata", self.documents_asked_for())
        self.assertFalse(any(r["has_epic_client_id"] for r in self.stack.control("log")))

    def test_item_03_OauthUrisAreFoundWhereverTheyStand(self):
        # The sandbox's statement has another rest entry and another extension before them.
        self.stack.switches(discovery="not_found")
        self.assert_enrolled_with_token(server="epic")
        self.assertEqual(self.documents_asked_for()[:2], ["/fhir/.well-known/smart-configuration", "/fhir/metadata"])

    def test_item_03_XmlAndHtmlAreCleanErrors(self):
        for kind, reason in (("xml", "BAD_SERVER_ANSWER"), ("html", "INTERCEPTED")):
            with self.subTest(kind), self.bounded():
                self.stack.control("reset", {})
                self.stack.switches(discovery="not_found", metadata=kind, rfc8414="not_found")
                error = self.refused("epic")
                self.assertEqual(error["reason"], reason)
                self.assertIn("metadata", error["message"])

    def test_item_04_RelativeEndpointsAreResolvedAgainstTheFhirBase(self):
        self.stack.switches(discovery="relative")
        self.assert_enrolled_with_token()

    BAD_URLS = ("http://ehr.example/x", "https://user@ehr.example/x", "https://user:word@ehr.example/x",
                "https://ehr.example/x#fragment", "ftp://ehr.example/x", "javascript:alert(1)", "file:///etc/passwd",
                "https://", "https://ehr.example:99999/x", "https://ehr.example\\@evil.example/", "https://e hr/x",
                "//user@ehr.example/x", "https://ehr.example/\u0000x", 7, ["https://ehr.example/x"])

    def test_item_04_EndpointsThatMustNotBeUsedAreRefusedByServerAndField(self):
        with self.bounded(3 * BOUND):
            for url in self.BAD_URLS:
                for member in ("authorization_endpoint", "token_endpoint", "registration_endpoint"):
                    with self.subTest(url=url, member=member):
                        self.stack.control("reset", {})
                        self.stack.switches(discovery={"value": "override", "set": {member: url}})
                        error = self.refused()
                        self.assertEqual(error["reason"], "DISCOVERY_INVALID")
                        self.assertIn(member, error["message"])
                        self.assertNotIn("user:word", error["message"])

    def test_item_04_SoAreThoseOfMetadata(self):
        with self.bounded():
            for name in ("authorize", "token", "register"):
                for url in ("http://ehr.example/x", "https://user@ehr.example/x", "https://ehr.example/x#y"):
                    with self.subTest(name=name, url=url):
                        self.stack.control("reset", {})
                        self.stack.switches(discovery="not_found", metadata={"value": "oauth_uris", "set": {name: url}})
                        error = self.refused("epic")
                        self.assertEqual(error["reason"], "DISCOVERY_INVALID")
                        self.assertRegex(error["message"], rf"metadata: {name}\b")

    def raw(self, body, **more):
        return {"value": "raw", "body": body, **more}

    def test_item_05_BadDocumentsAreClearErrorsInBoundedTimeAndMemory(self):
        good_start = '{"token_endpoint":"https://ehr.example/token","registration_endpoint":"https://ehr.example/r"'
        documents = {
            "not found": ("not_found", "DISCOVERY_INVALID"),
            "forbidden": (self.raw("{}", status=403), "DISCOVERY_INVALID"),
            "server error": (self.raw("oops", status=500, content_type="text/plain"), "SERVER_ERROR"),
            "HTML with 200": ("html", "INTERCEPTED"),
            "HTML with 500": (self.raw("<html>", status=500, content_type="text/html"), "SERVER_ERROR"),
            "huge": ({"value": "huge", "bytes": 8_000_000}, "BAD_SERVER_ANSWER"),
            "malformed": ("malformed", "BAD_SERVER_ANSWER"),
            "trailing bytes": (self.raw(good_start + "} x"), "BAD_SERVER_ANSWER"),
            "twice": (self.raw(good_start + ',"token_endpoint":"https://evil.example/"}'), "BAD_SERVER_ANSWER"),
            "no UTF-8": (self.raw("\ufeff{}"), "BAD_SERVER_ANSWER"),
            "deep": (self.raw(JSON_TOO_DEEP), "BAD_SERVER_ANSWER"),
            "empty": (self.raw(""), "BAD_SERVER_ANSWER"),
            "an array": (self.raw("[]"), "BAD_SERVER_ANSWER"),
            "a number": (self.raw("7"), "BAD_SERVER_ANSWER"),
            "of another type": (self.raw("{}", content_type="text/plain"), "BAD_SERVER_ANSWER"),
            "of no type": (self.raw("{}", content_type=""), "BAD_SERVER_ANSWER"),
            "an empty object": (self.raw("{}"), "DISCOVERY_INVALID"),
        }
        with self.bounded(2 * BOUND):
            for name, (document, reason) in documents.items():
                with self.subTest(name):
                    self.stack.control("reset", {})
                    self.stack.switches(discovery=document, metadata="not_found", rfc8414="not_found")
                    self.assertEqual(self.refused()["reason"], reason)

    def test_item_05_ADocumentThatIsCutOffOrNeverComesIsAServerThatCannotBeReached(self):
        for switch in ("cut_midway", "drop_before", "drop_after"):
            with self.subTest(switch), self.bounded():
                self.stack.control("reset", {})
                self.stack.switches(**{switch: {"smart_configuration": True}})
                self.assertEqual(self.refused()["reason"], "SERVER_UNREACHABLE")

    def test_item_05_ARedirectIsNotFollowed(self):
        with Listener() as elsewhere:
            self.stack.switches(discovery={"value": "redirect", "location": elsewhere.url}, metadata="not_found",
                                rfc8414="not_found")
            self.assertEqual(self.refused()["reason"], "REDIRECT_REFUSED")
            self.assertEqual(elsewhere.targets, [])

    def test_item_05_SlowServersAreGivenUpAndKeepNobodyElseWaiting(self):
        self.stack.switches(delay_ms={"smart_configuration": {"value": 120_000, "times": 1}})
        results = []

        def enroll():
            results.append(self.enroll_with_token())
        with self.bounded():
            first = threading.Thread(target=enroll)
            first.start()
            # A request is logged when it is answered: that it waits shows in its switch, which is used up.
            wait_for(lambda: not self.stack.control("switches"), "the slow request")
            self.stack.switches(drip_ms={"smart_configuration": {"value": 100, "times": 1}})
            second = threading.Thread(target=enroll)
            second.start()
            wait_for(lambda: not self.stack.control("switches"), "the dripping answer")
            self.assert_enrolled_with_token()
            self.assertEqual(results, [])
            first.join()
            second.join()
        for result in results:
            self.assert_error(result, "SERVER_UNREACHABLE", "smart-configuration")

    def test_item_06_AServerWithPlainPkceOnlyIsRefused(self):
        for methods in (["plain"], [], ["s256"], "S256"):
            with self.subTest(methods):
                self.stack.control("reset", {})
                self.stack.switches(
                    discovery={"value": "override", "set": {"code_challenge_methods_supported": methods}})
                error = self.refused()
                self.assertEqual(error["reason"], "DISCOVERY_INVALID")
                self.assertIn("code_challenge_methods_supported", error["message"])

    def test_item_06_PlainIsNotUsedWhereItIsOfferedToo(self):
        self.stack.switches(
            discovery={"value": "override", "set": {"code_challenge_methods_supported": ["plain", "S256"]}})
        with self.begun("--app", APP) as enrolling:
            self.assertIn("code_challenge_method=S256", enrolling.url)

    def test_item_07_ATokenEndpointThatMovesLaterGetsNoAssertion(self):
        self.stack.switches(access_token_ttl=1)
        self.assert_enrolled_with_token()
        with Listener() as elsewhere:
            self.stack.switches(discovery={"value": "override", "set": {"token_endpoint": f"{elsewhere.url}/token"}})
            self.stack.kill_daemon()
            self.stack.start_daemon()
            before = len(self.stack.token_requests())
            first = self.token()
            second = wait_for(lambda: next((t for t in [self.token()] if t != first), None), "another token")
            self.assertEqual(self.stack.fhir_get("Patient/pat-1", second)["id"], "pat-1")
            self.assertGreaterEqual(len(self.stack.token_requests()), before + 2)
            self.assertEqual(elsewhere.targets, [])
            shown = self.stack.ctl(ALICE, "--json", "show", "sandbox").json()["registration"]
            self.assertEqual(shown["token_endpoint"], self.stack.ready["token_endpoint"])


if __name__ == "__main__":
    unittest.main()
