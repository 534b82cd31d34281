# SPDX-License-Identifier: Apache-2.0
"""Items 28 to 33 of the protocol's checklist: what a token request and its assertion are like, as the sandbox saw
them. Authlib has verified each signature there."""

import unittest
from concurrent.futures import ThreadPoolExecutor

from conformance import ALICE, SERVER, ConformanceTest
from hardware import Token
from stack import Stack

ALGORITHMS = ("ES384", "RS384", "ES256", "RS256")
REGISTRATIONS = 17
AT_ONCE = 30  # tokens that smartkeyd asks for in a row for one registration


class Assertion(ConformanceTest):
    @classmethod
    def make_stack(cls):
        return Stack(hardware=Token)

    def setUp(self):
        super().setUp()
        self.answer_once()

    # 28, 29

    def test_item_28_TheFormHasThreeParametersAndNothingElseSpeaksForTheClient(self):
        registration = self.assert_enrolled_with_token()
        self.token()
        self.token(SERVER, "--scope", "patient/*.rs")
        (first, all_scopes, fewer) = self.stack.token_requests()
        for request in (first, all_scopes, fewer):
            self.assertEqual(request["content_type"], "application/x-www-form-urlencoded")
            self.assertEqual(request["accept"], "application/json")
            self.assertEqual((request["has_authorization"], request["has_cookie"]), (False, False))
            self.assertEqual(request["client_id"], registration["generation"]["client_id"])
            self.assertEqual(request["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer")
        self.assertEqual(all_scopes["parameters"], ["assertion", "client_id", "grant_type"])
        self.assertEqual(fewer["parameters"], ["assertion", "client_id", "grant_type", "scope"])
        self.assertEqual(fewer["scope"], "patient/*.rs")

    def test_item_29_HeaderAndClaimsAreThoseOfTheProtocolAndNoOthers(self):
        registration = self.assert_enrolled_with_token()
        generation = registration["generation"]
        for request in self.stack.token_requests():
            self.assertEqual(request["assertion_header"], {"alg": generation["key"]["algorithm"], "typ": "JWT",
                                                           "kid": generation["key"]["thumbprint"]})
            claims = request["assertion_claims"]
            self.assertEqual(set(claims), {"iss", "sub", "aud", "jti", "iat", "nbf", "exp"})
            self.assertEqual((claims["iss"], claims["sub"]), (generation["client_id"], generation["client_id"]))
            self.assertEqual(claims["aud"], self.stack.ready["token_endpoint"])
            for name in ("iat", "nbf", "exp"):
                self.assertIs(type(claims[name]), int)
            self.assertLess(claims["iat"], request["time"])
            self.assertLessEqual(claims["exp"] - claims["iat"], 300)
            self.assertLess(claims["exp"], request["time"] + 300)
            self.assertRegex(claims["jti"], r"^[\w-]{22,151}$")

    # 30, 31

    def ask_all(self, names, times):
        """Every registration so many times, one after the other; of several at once. The exit codes."""
        def ask(name):
            return [self.ask(registration=name).code for _ in range(times)]
        with ThreadPoolExecutor(8) as people:
            return {code for codes in people.map(ask, names) for code in codes}

    def test_item_30_NoJtiTwiceInAThousandTokensOverARestartAndRetries(self):
        names = [f"r{number}" for number in range(REGISTRATIONS)]
        for name in names:
            self.assert_enrolled_with_token("--name", name, "--algorithm", "ES384")
        before = len(self.stack.token_requests())
        self.assertEqual(self.ask_all(names, AT_ONCE), {0})
        self.forget_what_was_held_back()
        # One refusal is tried again at once; the sandbox notes the jti of what it refused as well.
        self.stack.switches(token_error={"error": "invalid_grant", "times": 1})
        self.assertEqual(self.ask_all(names, AT_ONCE), {0})
        requests = self.stack.token_requests()[before:]
        self.assertEqual(len(requests), 2 * REGISTRATIONS * AT_ONCE + 1)
        self.assertGreater(len(requests), 1000)
        jtis = [request["jti"] for request in self.stack.token_requests()]
        self.assertEqual(len(set(jtis)), len(jtis))
        # Item 31 as well: as many signatures of ES384, of which one in 64 has a half that has to be padded.
        self.assertEqual([r["status"] for r in requests if "assertion_header" in r], [200] * (len(requests) - 1))
        self.assertEqual({r["assertion_header"]["alg"] for r in requests if "assertion_header" in r}, {"ES384"})

    def test_item_31_EachAlgorithmVerifiesElsewhere(self):
        for algorithm in ALGORITHMS:
            self.assert_enrolled_with_token("--name", algorithm, "--algorithm", algorithm)
        before = len(self.stack.token_requests())
        self.assertEqual(self.ask_all(ALGORITHMS, 5), {0})
        seen = [(r["assertion_header"]["alg"], r["status"]) for r in self.stack.token_requests()[before:]]
        self.assertEqual(sorted(seen), sorted((algorithm, 200) for algorithm in ALGORITHMS for _ in range(5)))

    # 32

    def test_item_32_AClockThatIsALittleOffMakesNoDifference(self):
        self.assert_enrolled_with_token()
        # Ours is 20 s fast, then 60 s slow.
        for offset in (-20, 60):
            with self.subTest(offset):
                self.stack.switches(clock_offset=offset)
                before = len(self.stack.token_requests())
                self.token()
                self.assertEqual([r["status"] for r in self.stack.token_requests()[before:]], [200])

    def set_clock(self, offset):
        """The server's against ours. What the daemon remembers of it ends with the test."""
        self.stack.switches(clock_offset=offset)
        self.addCleanup(self.forget_what_was_held_back)

    def test_item_32_TenMinutesOffRecoversByTheServersDateAndRemembersIt(self):
        self.assert_enrolled_with_token()
        for offset in (600, -600):
            with self.subTest(offset):
                self.set_clock(offset)
                before = len(self.stack.token_requests())
                for _ in range(3):
                    self.token()
                statuses = [r["status"] for r in self.stack.token_requests()[before:]]
                self.assertEqual(statuses, [400, 200, 200, 200])

    def test_item_32_AClockThatIsHoursOffIsSaidToBeWrong(self):
        self.assert_enrolled_with_token()
        self.set_clock(7200)
        refused = self.stack.ctl(ALICE, "--json", "token", SERVER)
        self.assert_error(refused, "CLOCK_WRONG", r"127\.0\.0\.1.*; its clock and this machine.s differ by 1h59m")
        self.assertEqual(self.registrations()[0]["state"], "ACTIVE")

    # 33

    def test_item_33_TheAudienceIsTheAdministratorsToSayAndNoApps(self):
        audience = "https://public-name.example/oauth2/token"
        self.stack.write_config(server_extra=f'assertion_audience = "{audience}"')
        self.assertEqual(self.stack.ctl("root", "reload").code, 0)
        self.addCleanup(lambda: (self.stack.write_config(), self.stack.ctl("root", "reload")))
        self.stack.switches(token_audience=audience)
        self.assert_enrolled_with_token()
        self.token()
        self.assertEqual(len(self.stack.token_requests()), 2)
        self.assertEqual({r["assertion_claims"]["aud"] for r in self.stack.token_requests()}, {audience})
        for command in (("token", SERVER), ("assertion", SERVER)):
            self.assertEqual(self.stack.ctl(ALICE, *command, "--audience", audience).code, 2)


if __name__ == "__main__":
    unittest.main()
