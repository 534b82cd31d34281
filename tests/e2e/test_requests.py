# SPDX-License-Identifier: Apache-2.0
"""A user asks another one for a share, and she decides. Real users, real processes, tokens that the hospital takes."""

import json
import subprocess
import unittest

from stack import ALICE, BOB, SERVER, wait_for
from story import StackTest

HERS = f"{ALICE}/{SERVER}"


class Requests(StackTest):
    def setUp(self):
        super().setUp()
        self.stack.kill_daemon()  # forgets what was asked for
        self.stack.start_daemon()

    def ask(self, *args, user=BOB, target=HERS):
        """Asks without waiting; the id."""
        asked = self.stack.ctl(user, "--json", "request", target, "--no-wait", *args)
        self.assertEqual(asked.code, 0, f"{asked}\n{self.stack.read_log()}")
        answer = json.loads(asked.out.splitlines()[0])["answer"]
        self.assertEqual(answer["state"], "PENDING")
        return answer["request_id"]

    def requests(self, *args, user=ALICE):
        result = self.stack.ctl(user, "--json", "requests", *args)
        self.assertEqual(result.code, 0, str(result))
        return result.json()["requests"]

    def test_ApprovedWhileHeWaits_HisTokenReadsTheRecord(self):
        registration = self.enrolled()
        command = self.stack.ctl_args(BOB, ["request", HERS, "--scope", "patient/*.rs", "--reason", "for my viewer"])
        waiting = self.stack.spawn(BOB, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(waiting.kill)
        wait_for(self.requests, "his request")
        (seen,) = self.requests()
        self.assertEqual((seen["principal"], seen["registration_id"], seen["operations"], seen["scopes"], seen["reason"]),
                         (f"user:{BOB}", registration["id"], ["TOKEN"], ["patient/*.rs"], "for my viewer"))
        shown = self.stack.ctl(ALICE, "requests")
        for words in (f"user:{BOB}", SERVER, "for my viewer", seen["request_id"]):
            self.assertIn(words, shown.out)
        self.assertLessEqual(max(map(len, (shown.out + shown.err).splitlines())), 80)
        self.assertEqual(self.stack.ctl(BOB, "token", HERS).code, 1)

        said = self.stack.ctl(ALICE, "approve", seen["request_id"], "--for", "1h")
        self.assertEqual(said.code, 0, str(said))
        self.assertIn(f"user:{BOB}: token for patient/*.rs until", said.out)
        out, err = waiting.communicate(timeout=60)
        self.assertEqual((waiting.returncode, out.strip()), (0, registration["id"]), err)
        token = self.stack.ctl(BOB, "token", HERS).out.strip()
        self.secrets.add(token)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", token)["id"], "pat-1")
        self.assertEqual(self.requests(), [])
        self.assertNotIn("for my viewer", self.stack.read_log())  # words for the owner alone

    def test_WhetherThereIsSuchARegistration_IsNotToldBeforeTheOwnerSaysSo(self):
        self.enrolled()
        there = self.stack.ctl(BOB, "request", HERS, "--no-wait")
        for target in (f"{ALICE}/no-such", f"nobody-at-all/{SERVER}", f"root/{SERVER}"):
            none = self.stack.ctl(BOB, "request", target, "--no-wait")
            owner = target.split("/")[0]
            self.assertEqual((none.code, none.out), (there.code, there.out))
            self.assertEqual(len(none.err) - len(owner), len(there.err) - len(ALICE), none.err)
        self.assertEqual(len(self.requests()), 1)
        self.assertEqual(self.requests(user=BOB), [])

    def test_Denied_HeIsToldThenAndWhenHeAsksAgainAndSheIsLeftInPeace(self):
        self.enrolled()
        self.assertEqual(self.stack.ctl(ALICE, "deny", self.ask()).code, 0)
        again = self.stack.ctl(BOB, "request", HERS)
        self.assert_refused(again, 3, "has said no", "a day")
        self.assertEqual(self.requests(), [])
        self.stack.kill_daemon()
        self.stack.start_daemon()
        self.ask()  # which words he used is not kept, her no is: he waits, and she is not asked
        self.assertEqual(self.requests(), [])
        shared = self.stack.ctl(ALICE, "share", SERVER, f"user:{BOB}")
        self.assertEqual(shared.code, 0, str(shared))
        self.stack.ctl(ALICE, "unshare", SERVER, f"user:{BOB}")
        self.ask()  # a share takes the no back
        self.assertEqual(len(self.requests()), 1)

    def test_OthersCannotDecideAndTheAdministratorCan(self):
        self.enrolled()
        request = self.ask("--scope", "patient/*.rs")
        for command in ("approve", "deny"):
            self.assert_refused(self.stack.ctl(BOB, command, request), 1, "no open request")
        (seen,) = self.requests("--all", user="root")
        self.assertEqual(seen["request_id"], request)
        done = self.stack.ctl("root", "approve", request, "--admin")
        self.assertEqual(done.code, 0, str(done))
        self.assertEqual(self.registrations()[0]["shares"][0]["made_by"]["name"], "root")
        self.assert_refused(self.stack.ctl(ALICE, "approve", request), 1, "no open request")

    def test_TooManyAtOnce_AreRefused(self):
        for number in range(8):
            self.ask(target=f"{ALICE}/n{number}")
        self.assert_refused(self.stack.ctl(BOB, "request", HERS, "--no-wait"), 5, "too many requests")

    def test_WrongWords_AreSaid(self):
        self.assert_refused(self.stack.ctl(BOB, "request", SERVER), 2, "owner")
        self.assert_refused(self.stack.ctl(BOB, "request", HERS, "--reason", "x" * 81), 2, "80 characters")
        self.assert_refused(self.stack.ctl(BOB, "request", HERS, "--allow", "all"), 2, "token, dpop")
        self.assert_refused(self.stack.ctl(ALICE, "approve", "no-such-id"), 1, "no open request")


if __name__ == "__main__":
    unittest.main()
