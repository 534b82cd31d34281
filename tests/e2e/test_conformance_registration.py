# SPDX-License-Identifier: Apache-2.0
"""Items 14 to 17, 19, 20, 22, 23 and 27 of docs/conformance.md: the registration request and every answer to it."""

import base64
import hashlib
import json
import unittest

from conformance import ALICE, BOUND, SERVER, ConformanceTest
from listener import Listener
from second_ehr import SecondEhr
from stack import BOB

PUBLIC = {"EC": ["alg", "crv", "kid", "kty", "use", "x", "y"], "RSA": ["alg", "e", "kid", "kty", "n", "use"]}


def from_base64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def thumbprint(jwk):
    """RFC 7638 section 3, written down here once more."""
    members = {name: jwk[name] for name in (("crv", "kty", "x", "y") if jwk["kty"] == "EC" else ("e", "kty", "n"))}
    text = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def token_hash(token):
    """As the sandbox's log has it."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


class Request(ConformanceTest):
    def test_item_14_OnePostWithTheTokenTheSoftwareIdAndOnePublicKey(self):
        self.enrolled()
        (sent,) = self.registrations_sent()
        self.assertEqual(sent["method"], "POST")
        self.assertEqual(sent["content_type"], "application/json")
        self.assertEqual(sent["members"], ["jwks", "software_id"])
        self.assertEqual(sent["software_id"], "growth-chart-software")
        self.assertEqual(len(sent["key_members"]), 1)
        self.assertIn(sent["key_members"][0], PUBLIC.values())
        self.assertEqual(sent["initial_token_hash"], self.exchanges()[0]["token_hash"])
        self.assertFalse(sent["has_cookie"])

    def test_item_14_NoPrivateMemberIsOnDisk(self):
        registration = self.enrolled()
        jwk = registration["generation"]["key"]["public_jwk"]
        data = self.state_bytes()
        self.assertIn(thumbprint(jwk).encode(), data)
        for member in ('"d"', '"p"', '"q"', '"dp"', '"dq"', '"qi"', "PRIVATE KEY"):
            self.assertNotIn(member.encode(), data)

    def test_item_15_EveryAlgorithmsKeyIsWellFormed(self):
        curves = {"ES256": ("P-256", 32), "ES384": ("P-384", 48)}
        for algorithm in ("ES256", "ES384", "RS256", "RS384"):
            with self.subTest(algorithm):
                self.setUp()
                self.assert_enrolled_with_token("--algorithm", algorithm)
                (client,) = self.stack.control("clients")
                jwk = client["jwk"]
                self.assertEqual(jwk["kid"], thumbprint(jwk))
                self.assertEqual(jwk["alg"], algorithm)
                self.assertEqual(jwk.get("use"), "sig")
                self.assertEqual(sorted(jwk), PUBLIC[jwk["kty"]])
                if algorithm in curves:
                    curve, size = curves[algorithm]
                    self.assertEqual((jwk["kty"], jwk["crv"]), ("EC", curve))
                    for name in ("x", "y"):
                        self.assertEqual(len(from_base64url(jwk[name])), size)
                        self.assertNotIn("=", jwk[name])
                else:
                    modulus = from_base64url(jwk["n"])
                    self.assertEqual(jwk["kty"], "RSA")
                    self.assertNotEqual(modulus[0], 0)
                    self.assertGreaterEqual(len(modulus) * 8, 2048)

    def test_item_17_TheInitialTokenIsUsedAtOnceAndOnce(self):
        self.enrolled()
        (exchange,), (register,) = self.exchanges(), self.registrations_sent()
        self.assertEqual(register["seq"], exchange["seq"] + 1)  # nothing in between, not a single read with it
        self.assertLess(register["time"] - exchange["time"], 10)
        presented = [r for r in self.stack.control("log") if r["has_authorization"]]
        self.assertEqual([r["path"] for r in presented], ["/oauth/register"])

    def test_item_17_ASecondEnrollmentNeedsAnother(self):
        token = self.stack.initial_token()["access_token"]
        self.assertEqual(self.enroll_with_token(token=token).code, 0)
        self.assert_error(self.enroll_with_token(token=token), "INITIAL_TOKEN_REFUSED")
        self.assert_enrolled_with_token()
        used = [r["initial_token_hash"] for r in self.registrations_sent() if r["status"] == 201]
        self.assertEqual(len(set(used)), 2)
        self.assertEqual(len(self.registrations()), 2)


class Answers(ConformanceTest):
    def answer(self, **override):
        return {"registration_answer": {"value": "override", **override}}

    def test_item_19_AMinimalAnswerIsAccepted(self):
        self.stack.switches(**self.answer(remove=["client_id_issued_at", "software_id", "grant_types",
                                                  "token_endpoint_auth_method"]))
        self.assert_enrolled_with_token()

    def test_item_19_AnAnswerLikeEpicsIsAccepted(self):
        self.stack.switches(registration_answer="epic_like")
        self.assert_enrolled_with_token()

    def test_item_19_UnknownMembersAndNullsAreIgnored(self):
        self.stack.switches(**self.answer(set={"x_unknown": {"deep": [1, {"a": None}]}, "redirect_uris": ["https://e/"],
                                               "client_name": None, "jwks": None, "scope": 7}))
        self.assert_enrolled_with_token()

    WRONG = {
        "no client_id": ({"remove": ["client_id"]}, "client_id"),
        "null client_id": ({"set": {"client_id": None}}, "client_id"),
        "number": ({"set": {"client_id": 7}}, "client_id"),
        "array": ({"set": {"client_id": ["a"]}}, "client_id"),
        "object": ({"set": {"client_id": {"a": 1}}}, "client_id"),
        "boolean": ({"set": {"client_id": True}}, "client_id"),
        "empty": ({"set": {"client_id": ""}}, "client_id"),
        "too long": ({"set": {"client_id": "c" * 5000}}, "client_id"),
        "new line": ({"set": {"client_id": "a\nb"}}, "client_id"),
        "escape": ({"set": {"client_id": "a\u001b[31mb"}}, "client_id"),
        "NUL": ({"set": {"client_id": "a\u0000b"}}, "client_id"),
        "not ASCII": ({"set": {"client_id": "kränk"}}, "client_id"),
        "the parent's": ({"set": {"client_id": "growth-chart"}}, "client_id"),
        "another software_id": ({"set": {"software_id": "another-software"}}, "software_id"),
        "a software_id that is a number": ({"set": {"software_id": 7}}, "software_id"),
        "no jwt-bearer": ({"set": {"grant_types": ["authorization_code"]}}, "jwt-bearer grant"),
        "no grant": ({"set": {"grant_types": []}}, "jwt-bearer grant"),
        "grants as a string":
            ({"set": {"grant_types": "urn:ietf:params:oauth:grant-type:jwt-bearer"}}, "jwt-bearer grant"),
        "no key": ({"set": {"jwks": {"keys": []}}}, "jwks|key"),
        "a jwks that is an array": ({"set": {"jwks": []}}, "jwks|key"),
        "a key that is none": ({"set": {"jwks": {"keys": [7]}}}, "jwks|key"),
        "a secret's method": ({"set": {"token_endpoint_auth_method": "client_secret_basic"}}, "client authentication"),
    }

    def assert_refused_by_server_and_field(self, field):
        result = self.enroll_with_token()
        error = self.assert_error(result, "REGISTRATION_ANSWER_INVALID", SERVER,
                                  self.stack.ready["fhir_base"].split("/")[2], field)
        for odd in ("\n", "\x1b", "\x00"):
            self.assertNotIn(odd, error["message"])
        self.assertEqual(result.code, 4)
        self.assertEqual(len(self.registrations_sent()), 1)
        self.assertEqual(self.stack.token_requests(), [])
        self.assert_nothing_left()

    def test_item_20_AnswersThatCannotBeUsedAreRefusedByServerAndField(self):
        with self.bounded(3 * BOUND):
            for name, (override, field) in self.WRONG.items():
                with self.subTest(name):
                    self.stack.control("reset", {})
                    self.stack.switches(**self.answer(**override))
                    self.assert_refused_by_server_and_field(field)

    def test_item_20_AnotherKeyUnderOurKidIsRefused(self):
        for answer in ("other_key", "wrong_software_id", "no_client_id", "no_jwt_bearer"):
            with self.subTest(answer):
                self.stack.control("reset", {})
                self.stack.switches(registration_answer=answer)
                self.assert_error(self.enroll_with_token(), "REGISTRATION_ANSWER_INVALID")
                self.assert_nothing_left()

    def test_item_20_ThePlaceOfARefusedEnrollmentIsFreeAgain(self):
        self.stack.switches(registration_answer="other_key")
        for _ in range(4):  # more than a user may have under way
            self.assert_error(self.enroll_with_token(), "REGISTRATION_ANSWER_INVALID")
        self.stack.switches(registration_answer=None)
        self.assert_enrolled_with_token()

    # An answer that says no: its reason, and whether it can be known that no client was made.
    REFUSALS = (
        ({"error": "invalid_client_metadata"}, "SOFTWARE_ID_REFUSED"),
        ({"error": "invalid_redirect_uri"}, "REGISTRATION_REFUSED"),
        ({"error": "access_denied"}, "INITIAL_TOKEN_REFUSED"),
        ({"error": "invalid_token", "status": 401}, "INITIAL_TOKEN_REFUSED"),
        ({"error": "insufficient_scope", "status": 403}, "REGISTRATION_FORBIDDEN"),
        ({"error": "x", "status": 404}, "NO_DYNAMIC_REGISTRATION"),
        ({"html": True, "status": 404, "error": None}, "NO_DYNAMIC_REGISTRATION"),
        ({"html": True, "status": 403, "error": None}, "INTERCEPTED"),
        ({"html": True, "status": 511, "error": None}, "INTERCEPTED"),
        ({"error": "x", "status": 405}, "UNEXPECTED_STATUS"),
    )

    def test_item_22_EachRefusalHasItsReasonAndIsNotTriedAgain(self):
        with self.bounded():
            for refusal, reason in self.REFUSALS:
                with self.subTest(refusal):
                    self.stack.control("reset", {})
                    self.stack.switches(registration_error=refusal)
                    self.assert_error(self.enroll_with_token(), reason, SERVER)
                    self.assertEqual(len(self.registrations_sent()), 1)
                    self.assert_nothing_left()

    def test_item_22_RedirectsAreNotFollowed(self):
        for status in (301, 302, 303, 307, 308):
            with self.subTest(status), Listener() as elsewhere:
                self.stack.control("reset", {})
                self.stack.switches(registration_error={"status": status, "error": None,
                                                        "location": f"{elsewhere.url}/register"})
                self.assert_error(self.enroll_with_token(), "REDIRECT_REFUSED", SERVER)
                self.assertEqual(elsewhere.targets, [])
                self.assertEqual(len(self.registrations_sent()), 1)
                self.assert_nothing_left()

    def test_item_22_AServerErrorMayHaveMadeAClientSoThereIsOneMoreTryWithTheSameKeyAndToken(self):
        for refusal in ({"html": True, "status": 500, "error": None}, {"error": "server_error", "status": 503}):
            with self.subTest(refusal):
                self.setUp()
                self.stack.switches(registration_error=refusal)
                self.assert_error(self.enroll_with_token(), "ORPHANED")
                self.assert_one_more_try_at_most_and_orphaned()

    def assert_one_more_try_at_most_and_orphaned(self):
        sent = self.registrations_sent()
        self.assertEqual(len(sent), 2)
        (registration,) = self.registrations()
        self.assertEqual(registration["state"], "ORPHANED")
        self.assertEqual(self.stored_keys(), [b""], "of the key only its public half is left")
        refused = self.stack.ctl(ALICE, "token", registration["id"])
        self.assert_refused(refused, 4, "")
        return sent

    def test_item_22_AServerErrorThatPassesCostsNothing(self):
        self.stack.switches(registration_error={"html": True, "status": 500, "error": None, "times": 1})
        self.assert_enrolled_with_token()
        first, second = self.registrations_sent()
        self.assertEqual(second["status"], 201)
        self.assertEqual(len(self.stack.control("clients")), 1)

    LOST = {
        "dropped after the work": {"registration_answer": "drop_after_work"},
        "cut midway": {"cut_midway": {"register": True}},
        "malformed": {"registration_answer": "malformed"},
        "huge": {"registration_answer": {"value": "huge", "bytes": 8_000_000}},
        "truncated": {"registration_answer": {"value": "raw", "status": 201, "body": '{"client_id":"D-1'}},
        "trailing bytes": {"registration_answer": {"value": "raw", "status": 201, "body": '{"client_id":"D-1"}x'}},
        "a name twice": {"registration_answer": {"value": "raw", "status": 201,
                                                 "body": '{"client_id":"D-1","client_id":"D-2"}'}},
        "deep": {"registration_answer": {"value": "raw", "status": 201, "body": '{"a":' * 100 + "1" + "}" * 100}},
        "no UTF-8": {"registration_answer": {"value": "raw", "status": 201,
                                             "base64": base64.b64encode(b'{"client_id":"\xff"}').decode()}},
        "an array": {"registration_answer": {"value": "raw", "status": 201, "body": "[]"}},
        "empty": {"registration_answer": {"value": "raw", "status": 201, "body": ""}},
        "of another type": {"registration_answer": {"value": "raw", "status": 201, "body": "{}",
                                                    "content_type": "text/plain"}},
    }

    def test_item_23_AnAnswerThatIsLostAfterTheWorkIsOrphanedAfterOneMoreTry(self):
        with self.bounded(2 * BOUND):
            for name, switches in self.LOST.items():
                with self.subTest(name):
                    self.setUp()
                    self.stack.switches(**switches)
                    self.assert_error(self.enroll_with_token(), "ORPHANED")
                    first, second = self.assert_one_more_try_at_most_and_orphaned()
                    self.assertEqual(first["thumbprint"], self.stack.control("clients")[0]["thumbprint"])
                    self.assertEqual(second["status"], 401)  # the first has spent the token

    def test_item_23_ConnectionsThatBreakBeforeTheWorkCostOneMoreTry(self):
        self.stack.switches(drop_before={"register": {"value": True, "times": 1}})
        self.assert_enrolled_with_token()
        self.assertEqual([r["status"] for r in self.registrations_sent()], [None, 201])

    def test_item_27_TwoUsersAndTwoServersHaveKeysAndTokensOfTheirOwn(self):
        self.assert_enrolled_with_token()
        self.assert_enrolled_with_token(user=BOB)
        tokens = {}
        for user in (ALICE, BOB):
            (registration,) = self.registrations(user)
            shown = self.stack.ctl(user, "token", registration["id"])
            self.assertEqual(shown.code, 0, str(shown))
            tokens[user] = shown.out.strip()
            self.addCleanup(self.stack.ctl, user, "delete", registration["id"], "--yes")
        clients = self.stack.control("clients")
        self.assertEqual(len({client["thumbprint"] for client in clients}), 2)
        issued = {t["access_token"]: t["client_id"] for t in self.stack.control("tokens") if not t["initial"]}
        self.assertEqual(len({issued[token] for token in tokens.values()}), 2)
        for user, other in ((ALICE, BOB), (BOB, ALICE)):
            (theirs,) = self.registrations(other)
            refused = self.stack.ctl(user, "token", theirs["id"])
            self.assertEqual((refused.code, refused.out), (1, ""))

    def test_item_27_TwoServersOfOneUserNeitherMix(self):
        # The second server is another process, with clients of its own.
        second = SecondEhr(self.stack)
        self.addCleanup(second.close)
        self.stack.stop("smartkeyd")
        self.stack.write_config(extra=f"""
[[server]]
name = "other"
fhir_base = "{second.ready["fhir_base"]}"
allow_loopback_http = true
""")
        self.stack.start_daemon()
        self.assert_enrolled_with_token("--name", "here")
        self.assert_enrolled_with_token("--name", "there", server="other", token=second.initial_token())
        here, there = self.token("here"), self.token("there")
        self.assertEqual([t["access_token"] == there for t in second.tokens() if not t["initial"]], [True])
        self.assertIn(here, [t["access_token"] for t in self.stack.control("tokens")])
        self.assertNotIn(there, [t["access_token"] for t in self.stack.control("tokens")])
        kids = [self.stack.control("clients")[0]["thumbprint"], second.control("clients")[0]["thumbprint"]]
        self.assertEqual(len(set(kids)), 2)


if __name__ == "__main__":
    unittest.main()
