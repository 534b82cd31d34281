# SPDX-License-Identifier: Apache-2.0
"""Items 8 to 13 of docs/conformance.md: the authorization request, its redirect, and the code."""

import base64
import re
import unittest
import urllib.error
import urllib.parse
import urllib.request

from conformance import SERVER, ConformanceTest
from stack import APP, wait_for


def get(url):
    """The status of the answer; None when nobody answers. No redirect is followed."""
    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None
    opener = urllib.request.build_opener(NoRedirect, urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except urllib.error.URLError:
        return None


def listening(port):
    """The addresses that are listened at with this port, in the kernel's spelling."""
    found = set()
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                local, state = line.split()[1], line.split()[3]
                if state == "0A" and int(local.split(":")[1], 16) == port:
                    found.add(local.split(":")[0])
    return found


class Login(ConformanceTest):
    def parameters(self, enrolling):
        query = urllib.parse.urlsplit(enrolling.url).query
        pairs = urllib.parse.parse_qsl(query, strict_parsing=True)
        self.assertEqual(len(dict(pairs)), len(pairs), "a parameter is there twice")
        return dict(pairs)

    def assert_nothing_exchanged(self):
        self.assertEqual(self.exchanges(), [])
        self.assertEqual(self.registrations_sent(), [])
        self.assert_nothing_left()

    def test_item_08_TheAuthorizationUrlHasAllItsParameters(self):
        with self.begun() as enrolling:
            self.assertTrue(enrolling.url.startswith(self.stack.ready["authorization_endpoint"] + "?"))
            sent = self.parameters(enrolling)
        self.assertEqual(sorted(sent), ["aud", "client_id", "code_challenge", "code_challenge_method", "redirect_uri",
                                        "response_type", "scope", "state"])
        self.assertEqual(sent["response_type"], "code")
        self.assertEqual(sent["client_id"], "growth-chart")
        self.assertRegex(sent["redirect_uri"], r"^http://127\.0\.0\.1:\d+/callback$")
        self.assertEqual(set(sent["scope"].split(" ")), {"launch/patient", "patient/*.rs", "openid", "fhirUser",
                                                         "system/DynamicClient.register"})
        self.assertGreaterEqual(len(base64.urlsafe_b64decode(sent["state"] + "==")) * 8, 122)
        self.assertEqual(sent["aud"], self.stack.ready["fhir_base"])
        self.assertEqual(sent["code_challenge_method"], "S256")
        self.assertEqual(len(base64.urlsafe_b64decode(sent["code_challenge"] + "=")), 32)

    def test_item_08_TheVerifierFitsTheChallengeAndHasAllowedLength(self):
        self.enrolled()
        exchange = self.exchanges()[0]  # the server has compared verifier and challenge
        self.assertEqual(exchange["status"], 200)
        self.assertTrue(43 <= exchange["code_verifier_length"] <= 128)

    def test_item_09_TwoEnrollmentsShareNothing(self):
        with self.begun() as first, self.begun() as second:
            one, other = self.parameters(first), self.parameters(second)
        for name in ("state", "code_challenge"):
            self.assertNotEqual(one[name], other[name])
        self.stack.control("reset", {})
        self.enrolled("--name", "one")
        self.enrolled("--name", "two")
        jtis = [r["jti"] for r in self.stack.token_requests()]
        self.assertEqual(len(jtis), 2)
        self.assertEqual(len(set(jtis)), 2)

    def test_item_10_RedirectsWithoutTheRightStateExchangeNothing(self):
        with self.begun("--wait", "2s") as enrolling:
            state = urllib.parse.quote(enrolling.state)
            for query in ("code=x", "code=x&state=", "code=x&state=wrong", f"code=x&state={state}x",
                          f"code=x&state={state}&state={state}", f"code=x&state={state}&state=other",
                          "error=access_denied&state=wrong"):
                self.assertEqual(get(f"{enrolling.redirect_uri}?{query}"), 404, query)
            self.assert_refused(enrolling.wait(), 4, "did not come back")
        self.assert_nothing_exchanged()

    def test_item_10_PastedOnesNeither(self):
        with self.begun("--wait", "2s") as enrolling:
            for query in ("code=x", "code=x&state=wrong", f"code=x&state={enrolling.state}&state={enrolling.state}"):
                enrolling.paste(f"{enrolling.redirect_uri}?{query}")
            wait_for(lambda: enrolling.said.count("belongs to another login") == 3, "each to be refused")
            self.assert_refused(enrolling.wait(), 4, "did not come back")
        self.assert_nothing_exchanged()

    def test_item_10_ADoubledCodeIsRefusedByTheDaemonAndNothingIsExchanged(self):
        with self.begun() as enrolling:
            state = urllib.parse.quote(enrolling.state)
            self.assertEqual(get(f"{enrolling.redirect_uri}?code=x&code=y&state={state}"), 303)
            self.assert_refused(enrolling.wait(), 4, "twice")
        self.assert_nothing_exchanged()

    def test_item_10_ADeniedConsentIsSaid(self):
        result = self.stack.enroll(login=["--deny"])
        self.assert_refused(result, 4, "not allowed")
        self.assert_nothing_exchanged()

    def test_item_10_AnErrorOfTheServerIsSaidWithoutItsControlCharacters(self):
        with self.begun() as enrolling:
            state = urllib.parse.quote(enrolling.state)
            get(f"{enrolling.redirect_uri}?error=server_error&error_description=%1b%5b31mred%0aline&state={state}")
            result = enrolling.wait()
        self.assert_refused(result, 4, "server_error")
        self.assertNotIn("\x1b", result.out)
        self.assert_nothing_exchanged()

    def test_item_10_AnotherIssuerIsRefused(self):
        self.stack.switches(authorization_iss="wrong")
        self.assert_refused(self.stack.enroll(), 4, "issuer")
        self.assert_nothing_exchanged()

    def test_item_10_AMissingIssuerIsRefusedWhereItIsAnnounced(self):
        self.stack.switches(discovery={"value": "override",
                                       "set": {"authorization_response_iss_parameter_supported": True}})
        self.assert_refused(self.stack.enroll(), 4, "issuer")
        self.assert_nothing_exchanged()

    def test_item_10_TheRightIssuerIsTaken(self):
        self.stack.switches(authorization_iss=True)
        self.enrolled()

    def test_item_11_TheListenerIsOnLoopbackTakesOneAndCloses(self):
        self.stack.switches(delay_ms={"token": 1500})
        with self.begun() as enrolling:
            port = int(re.search(r":(\d+)/", enrolling.redirect_uri).group(1))
            self.assertEqual(listening(port), {"0100007F"})
            state = urllib.parse.quote(enrolling.state)
            self.assertEqual(get(f"{enrolling.redirect_uri}?code=first&state={state}"), 303)
            self.assertEqual(get(f"{enrolling.redirect_uri}?code=second&state={state}"), 404)
            self.assertEqual(get(enrolling.redirect_uri.replace("/callback", "/done")), 200)
            self.assert_refused(enrolling.wait(), 4, "authorization code")
            self.assertEqual(listening(port), set())
        self.assertEqual(len(self.exchanges()), 1)

    def test_item_11_ItClosesWhenTheTimeIsOver(self):
        with self.begun("--wait", "1s") as enrolling:
            port = int(re.search(r":(\d+)/", enrolling.redirect_uri).group(1))
            self.assert_refused(enrolling.wait(), 4, "did not come back")
            self.assertEqual(listening(port), set())
        self.assert_nothing_exchanged()

    def test_item_12_WithoutTheRegisterScopeNothingIsPosted(self):
        self.stack.switches(grant_register_scope=False)
        self.assert_refused(self.stack.enroll(), 4, SERVER, r"system/DynamicClient\.register")
        self.assertEqual(self.registrations_sent(), [])
        self.assert_nothing_left()

    def test_item_13_TheCodeExchangeIsThatOfAPublicClient(self):
        with self.begun("--app", APP) as enrolling:
            redirect_uri = enrolling.redirect_uri
            self.log_in(enrolling.url)
            self.assertEqual(enrolling.wait().code, 0)
        exchange = self.exchanges()[0]
        self.assertEqual(exchange["method"], "POST")
        self.assertEqual(exchange["content_type"], "application/x-www-form-urlencoded")
        self.assertFalse(exchange["has_authorization"])
        self.assertFalse(exchange["has_cookie"])
        self.assertEqual(exchange["parameters"], ["client_id", "code", "code_verifier", "grant_type", "redirect_uri"])
        self.assertEqual(exchange["redirect_uri"], redirect_uri)
        self.assertEqual(exchange["client_id"], "growth-chart")


if __name__ == "__main__":
    unittest.main()
