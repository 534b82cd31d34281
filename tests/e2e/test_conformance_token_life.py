# SPDX-License-Identifier: Apache-2.0
"""Items 47 to 53 of the protocol's checklist, against the sandbox: what the life of a token's client meets with.

Time is not waited for: it is taken off the record while the daemon is stopped (life.py)."""

import unittest

from life import HOUR, LifeTest
from stack import ALICE, SERVER, wait_for

OTHER_SCOPE = ("--scope", "patient/*.rs")  # never in the cache: the first token was for everything


class ConformanceTokenLife(LifeTest):
    def assert_both_halves(self, result):
        self.assert_refused(result, 5, "if you removed this app in the portal: renew; otherwise wait, next try "
                                       r"(\d{4}-\d\d-\d\d )?\d\d:\d\d")

    # 47

    def cut(self, switch):
        self.enrolled()
        self.stack.switches(**{switch: {"token": {"value": True, "times": 1}}})
        before = len(self.stack.token_requests())
        token = wait_for(lambda: self.ask(*OTHER_SCOPE).out.strip(), "a token after the connection was cut")
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", token)["id"], "pat-1")
        jtis = self.jtis()
        self.assertEqual(len(jtis), len(set(jtis)), "an assertion was sent twice")
        self.assertGreaterEqual(len(jtis) - before, 1)
        self.assertEqual(self.state(), "ACTIVE")

    def test_item_47_ConnectionCutBeforeTheWork(self):
        self.cut("drop_before")

    def test_item_47_ConnectionCutAfterTheWork(self):
        self.cut("drop_after")

    # 48

    def test_item_48_InvalidGrantOnceStaysActive(self):
        self.enrolled()
        self.stack.switches(token_error={"error": "invalid_grant", "times": 1})
        before = len(self.jtis())
        self.token(SERVER, *OTHER_SCOPE)
        jtis = self.jtis()[before:]
        self.assertEqual(len(jtis), 2)
        self.assertEqual(len(set(jtis)), 2)
        self.assertEqual(self.state(), "ACTIVE")

    def test_item_48_InvalidGrantForGoodIsSuspectThenReauthRequired(self):
        registration = self.enrolled()
        cached = self.token()
        self.stack.switches(token_error={"error": "invalid_grant"})
        self.assert_both_halves(self.ask(*OTHER_SCOPE))
        self.assertEqual(self.state(), "SUSPECT")
        self.assertEqual(self.token(), cached)

        # The rate falls: nothing is sent before the next try, whoever asks.
        sent = len(self.jtis())
        for _ in range(5):
            self.assert_both_halves(self.ask(*OTHER_SCOPE))
        self.assertEqual(len(self.jtis()), sent)

        self.refuse_until_reauth()
        self.assert_refused(self.ask(), 4, "renew")
        shown = self.show()
        self.assertEqual(shown["state_words"], "needs you: renew")
        self.assertEqual(shown["user_action"], "RENEW")
        self.assertIn("next_attempt_at", shown)
        # Nothing is deleted: the same client and key.
        self.assertEqual(shown["generation"]["client_id"], registration["generation"]["client_id"])
        self.assertEqual(shown["generation"]["key"]["thumbprint"], registration["generation"]["key"]["thumbprint"])
        # Once a day, and a success heals.
        sent = len(self.jtis())
        self.let_time_pass(12 * HOUR)
        self.assert_refused(self.ask(), 4, "renew")
        self.assertEqual(len(self.jtis()), sent)
        self.stack.control("switches", {"token_error": None})
        self.let_time_pass(16 * HOUR)
        self.token()
        self.assertEqual(self.state(), "ACTIVE")

    # 49

    def test_item_49_InvalidClientWithANullDescriptionIsClassedTheSame(self):
        self.enrolled()
        self.stack.switches(token_error={"error": "invalid_client", "status": 400, "description": None})
        self.assert_both_halves(self.ask(*OTHER_SCOPE))
        self.assertEqual(self.state(), "SUSPECT")

    def misconfigured(self, error):
        self.enrolled()
        self.stack.switches(token_error={"error": error})
        before = len(self.jtis())
        for _ in range(3):
            self.assert_refused(self.ask(*OTHER_SCOPE), 4, "administrator")
        self.assertEqual(len(self.jtis()), before + 1)
        self.assertEqual(self.state(), "MISCONFIGURED")
        self.stack.control("switches", {"token_error": None})
        self.restart()
        self.assert_refused(self.ask(), 4, "administrator")
        self.assertEqual(len(self.jtis()), before + 1)

    def test_item_49_UnauthorizedClientIsMisconfiguredAndNotTriedAgain(self):
        self.misconfigured("unauthorized_client")

    def test_item_49_UnsupportedGrantTypeIsMisconfiguredAndNotTriedAgain(self):
        self.misconfigured("unsupported_grant_type")

    # 50, 51

    def report(self, token):
        return self.stack.ctl(ALICE, "--json", "report-rejected", SERVER, stdin=token)

    def test_item_50_RevokedWhileCachedIsServedUntilItIsReported(self):
        self.enrolled()
        token = self.token()
        self.stack.control("revoke", {"client_id": self.client_id()})
        self.assertEqual(self.token(), token)
        self.assertEqual(self.state(), "ACTIVE")
        sent = len(self.jtis())
        reported = self.report(token)
        self.assertEqual(reported.code, 0, str(reported))
        self.assertEqual(reported.json(), {"version": 1, "dropped": True, "refreshing": True})
        wait_for(lambda: self.state() == "SUSPECT", "the refusal")
        # One new token was asked for: an assertion, and its one repetition with another jti.
        self.assertEqual(len(self.jtis()) - sent, 2)
        self.assertFalse(self.report(token).json()["dropped"])
        self.assert_both_halves(self.ask())
        self.assertEqual(len(self.jtis()) - sent, 2)
        self.refuse_until_reauth()

    def test_item_51_ReportsCauseNoStorm(self):
        self.enrolled()
        sent = len(self.jtis())
        codes = []
        for _ in range(8):
            codes.append(self.report(self.token()).code)
        self.assertEqual(codes, [0, 0, 0, 5, 5, 5, 5, 5])
        self.assertLessEqual(len(self.jtis()) - sent, 3)
        # Not the token that is there: nothing is asked for, and nothing counted.
        self.assertFalse(self.report("no-such-token").json()["dropped"])

    # 52

    def test_item_52_RestoredAtTheServerHealsWithoutEnrolling(self):
        self.enrolled()
        client = self.client_id()
        self.stack.control("revoke", {"client_id": client})
        self.assert_both_halves(self.ask(*OTHER_SCOPE))
        self.assertEqual(self.state(), "SUSPECT")
        self.stack.control("restore", {"client_id": client})
        self.let_time_pass(HOUR)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")
        self.assertEqual(self.state(), "ACTIVE")
        self.assertEqual(len(self.stack.requests("/register")), 1)

    def test_item_52_RestoredAtTheServerHealsThoughNobodyAsks(self):
        self.enrolled()
        client = self.client_id()
        self.stack.control("revoke", {"client_id": client})
        self.ask(*OTHER_SCOPE)
        self.stack.control("restore", {"client_id": client})
        self.let_time_pass(HOUR)  # overdue: tried within two minutes of the start
        wait_for(lambda: self.state() == "ACTIVE", "the registration to heal by itself", patience=180)

    # 53

    def test_item_53_TheEndOfTheAccessPeriodIsHandledAs48(self):
        self.enrolled()
        self.stack.control("end_access_period", {"client_id": self.client_id()})
        self.assert_both_halves(self.ask(*OTHER_SCOPE))
        self.refuse_until_reauth()

    def test_item_53_AClientThatWasRemovedForInactivityIsHandledAs48(self):
        self.enrolled()
        self.stack.control("forget_client", {"client_id": self.client_id()})
        self.assert_both_halves(self.ask(*OTHER_SCOPE))
        self.refuse_until_reauth()


if __name__ == "__main__":
    unittest.main()
