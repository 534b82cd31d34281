# SPDX-License-Identifier: Apache-2.0
"""What the administrator's [[policy]] blocks allow and forbid, with real users, and a reload in between."""

import unittest

from stack import ALICE, APP, BOB, PEOPLE, SERVER, wait_for
from story import StackTest
from watching import Watching

HERS = f"{ALICE}/{SERVER}"


class Policies(StackTest):
    def put_in_force(self, policy):
        self.stack.write_config(policy=policy)
        self.addCleanup(self.stack.write_config)
        reloaded = self.stack.ctl("root", "reload")
        self.assertEqual(reloaded.code, 0, str(reloaded))
        return reloaded

    def tearDown(self):
        self.stack.write_config()
        self.stack.ctl("root", "reload")
        super().tearDown()

    def test_TheUserOfAService_EnrollsOnlyWhereItIsNamed(self):
        self.put_in_force("")
        refused = self.stack.enroll()
        self.assert_refused(refused, 3, "no shell", "allow_enroll")
        self.put_in_force(f'[[policy]]\nallow_enroll = ["user:{ALICE}"]\n')
        self.assertEqual(self.stack.enroll().code, 0)
        self.addCleanup(self.stack.ctl, ALICE, "delete", SERVER, "--yes")
        self.assert_refused(self.stack.enroll(BOB), 3, "only others", r"\.toml:\d+")
        self.put_in_force(f'[[policy]]\nallow_enroll = ["user:{ALICE}"]\ndeny_enroll = ["user:{ALICE}"]\n')
        self.assertEqual(self.stack.ctl(ALICE, "token", SERVER).code, 0)  # what she has stays hers
        self.assertEqual(self.stack.enroll(command="renew").code, 0)
        self.assert_refused(self.stack.enroll(ALICE, "--name", "second"), 3, "does not let this user")

    def test_MoreThanOneMayHave_IsRefusedBeforeTheLogin(self):
        self.enrolled()
        self.put_in_force(PEOPLE + f'[[policy]]\nservers = ["{SERVER}"]\nmax_registrations_per_owner = 1\n')
        refused = self.stack.enroll(ALICE, "--name", "second")
        self.assertNotEqual(refused.code, 0)
        self.assertIn("lets one user have 1", refused.out)
        self.assertNotIn("response_type=code", refused.out)

    def test_ShareByPolicy_CountsAtOnceIsShownAsSuchAndCannotBeTakenBack(self):
        registration = self.enrolled()
        self.assertEqual(self.stack.ctl(BOB, "token", HERS).code, 1)
        with Watching(self.stack, user=BOB) as watching:
            watching.wait_for_event("SYNCED")
            self.put_in_force(PEOPLE + f'[[policy]]\napps = ["{APP}"]\n'
                              f'[[policy.share]]\nprincipal = "user:{BOB}"\nscopes = ["patient/*.rs"]\n')
            self.assertEqual(watching.wait_for_event("CURRENT")["registration"]["id"], registration["id"])
            token = self.stack.ctl(BOB, "token", HERS)
            self.assertEqual(token.code, 0, str(token))
            self.secrets.add(token.out.strip())
            self.assertEqual(self.stack.fhir_get("Patient/pat-1", token.out.strip())["id"], "pat-1")
            self.assert_refused(self.stack.ctl(BOB, "token", HERS, "--scope", "openid"), 3, "share allows only")
            (share,) = self.registrations()[0]["shares"]
            self.assertEqual(share["principal"], f"user:{BOB}")
            self.assertRegex(share["policy"], r"\.toml:\d+$")
            self.assertRegex(self.stack.ctl(ALICE, "show", SERVER).out.replace("\n", " "), r"by\s+\S+\.toml:\d+")
            self.assertIn(".toml:", self.stack.ctl(ALICE, "explain", SERVER, "--as", f"user:{BOB}").out)
            kept = self.stack.ctl(ALICE, "unshare", SERVER, f"user:{BOB}")
            self.assert_refused(kept, 4, "configuration makes this share")
            self.put_in_force(PEOPLE)
            watching.wait_for_event("REMOVED")
        wait_for(lambda: self.stack.ctl(BOB, "token", HERS).code == 1, "the share to be gone")

    def test_MistakesInAPolicy_LeaveTheOldOnesInForce(self):
        self.enrolled()
        self.stack.write_config(policy='[[policy]]\nallow_enroll = ["everybody"]\n')
        refused = self.stack.ctl("root", "reload")
        self.assertNotEqual(refused.code, 0)
        self.assertIn("nothing was changed", refused.err)
        self.assertEqual(self.stack.enroll(BOB).code, 0)
        self.addCleanup(self.stack.ctl, BOB, "delete", SERVER, "--yes")


if __name__ == "__main__":
    unittest.main()
