# SPDX-License-Identifier: Apache-2.0
"""Whose a registration is, as far as root has a say: sudo, enrolling for another user, giving one away."""

import subprocess
import unittest

from stack import ALICE, BOB, SERVER
from story import StackTest

HERS = f"{ALICE}/{SERVER}"


class Owners(StackTest):
    def test_EnrollWithSudo_SaysWhoseItWouldBeAndWhatToDo(self):
        command = self.stack.ctl_args("root", ["enroll", SERVER, "--public"])
        done = subprocess.run(command, env={"SUDO_USER": ALICE}, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 3, done)
        self.assertIn(f"root's and not {ALICE}'s", done.stderr)
        self.assertIn("without sudo", done.stderr)
        self.assertIn(f"--owner {ALICE}", done.stderr.replace("\n", " "))
        self.assertEqual(self.registrations(), [])

    def test_RootEnrollsForAUser_ItIsHisAndNotRoots(self):
        enrolled = self.stack.enroll("root", "--owner", BOB)
        self.assertEqual(enrolled.code, 0, f"{enrolled}\n{self.stack.read_log()}")
        self.addCleanup(self.stack.ctl, BOB, "delete", SERVER, "--yes")
        (his,) = self.registrations(BOB)
        self.assertEqual((his["owner"]["name"], his["relation"], his["state"]), (BOB, "OWN", "ACTIVE"))
        token = self.stack.ctl(BOB, "token", SERVER)
        self.assertEqual(token.code, 0, str(token))
        self.secrets.add(token.out.strip())
        self.assert_refused(self.stack.ctl("root", "token", f"{BOB}/{SERVER}", "--public"), 1, "registration")
        self.assertIn("root enrolls for another user", self.stack.read_log())

    def test_WhoeverElseNamesAnOwner_IsRefused(self):
        refused = self.stack.ctl(ALICE, "enroll", SERVER, "--owner", BOB, "--no-browser")
        self.assert_refused(refused, 3, "only root")
        self.assert_refused(self.stack.ctl("root", "enroll", SERVER, "--no-browser"), 3, "--owner USER")
        nobody = self.stack.ctl("root", "enroll", SERVER, "--owner", "nobody-at-all", "--no-browser")
        self.assert_refused(nobody, 1, "user")

    def test_GivenToAnother_HeHasItWithItsTokensAndSheHasItNoMore(self):
        registration = self.enrolled()
        token = self.token()
        for user in (ALICE, BOB):
            self.assertNotEqual(self.stack.ctl(user, "chown", SERVER, BOB).code, 0)
        self.assert_refused(self.stack.ctl(ALICE, "chown", SERVER, BOB), 3, "only root")
        given = self.stack.ctl("root", "chown", HERS, BOB)
        self.assertEqual(given.code, 0, str(given))
        self.addCleanup(self.stack.ctl, BOB, "delete", SERVER, "--yes")
        self.assertEqual(self.registrations(), [])
        (his,) = self.registrations(BOB)
        self.assertEqual((his["id"], his["relation"]), (registration["id"], "OWN"))
        self.assertEqual(self.stack.ctl(BOB, "token", SERVER).out.strip(), token)
        self.assertEqual(self.stack.ctl(ALICE, "token", SERVER).code, 1)
        self.stack.kill_daemon()
        self.stack.start_daemon()
        self.assertEqual(self.registrations(BOB)[0]["id"], registration["id"])

    def test_GivenToWhoHasOneOfThatName_NothingChanges(self):
        self.enrolled()
        self.assertEqual(self.stack.enroll(BOB, patient="pat-2").code, 0)
        self.addCleanup(self.stack.ctl, BOB, "delete", SERVER, "--yes")
        refused = self.stack.ctl("root", "chown", HERS, BOB)
        self.assertNotEqual(refused.code, 0)
        self.assertIn("name", refused.err)
        self.assertEqual(len(self.registrations()), 1)
        self.assert_refused(self.stack.ctl("root", "chown", HERS, "nobody-at-all"), 1, "user")


if __name__ == "__main__":
    unittest.main()
