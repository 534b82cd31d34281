# SPDX-License-Identifier: Apache-2.0
"""Several people, one registration: what a share opens, and that taking it back closes it at once, on what is open
too. Three real users; the tokens are tried at the hospital."""

import unittest

from stack import ALICE, BOB, SERVER, wait_for
from story import StackTest
from watching import Watching

CAROL = "mail"
BOBS_GROUP = "news"
HERS = f"{ALICE}/{SERVER}"


class Shares(StackTest):
    def share(self, *args, user=ALICE, registration=SERVER):
        result = self.stack.ctl(user, "share", registration, *args)
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
        return result.out

    def unshare(self, principal, user=ALICE, registration=SERVER):
        result = self.stack.ctl(user, "unshare", registration, principal)
        self.assertEqual(result.code, 0, str(result))

    def token_of(self, user, *args, registration=SERVER):
        result = self.stack.ctl(user, "token", registration, *args)
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
        token = result.out.strip()
        self.secrets.add(token)
        return token

    def assert_does_not_exist(self, user, command="token", registration=SERVER):
        """What is said of it is what is said of one that nobody has."""
        told = self.stack.ctl(user, command, registration)
        nobodys = self.stack.ctl(user, command, "no-such")
        self.assert_refused(told, 1, "registration")
        self.assertEqual((told.code, told.out, told.err.replace(registration, "no-such")),
                         (nobodys.code, nobodys.out, nobodys.err))

    def test_ShareWithAUser_HisTokenIsTheSameOneAndReadsTheSameRecord(self):
        registration = self.enrolled()
        self.assert_does_not_exist(BOB)
        self.assert_does_not_exist(BOB, "show", registration["id"])
        said = self.share(f"user:{BOB}")
        self.assertIn(f"user:{BOB}: token", said)
        asked = len(self.stack.token_requests())
        token = self.token_of(BOB)
        self.assertEqual(token, self.token())  # one request for both
        self.assertLessEqual(len(self.stack.token_requests()), asked + 1)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", token)["id"], "pat-1")
        self.assertEqual(self.token_of(BOB, registration=HERS), token)
        self.assertEqual(self.token_of(BOB, registration=registration["id"]), token)
        (seen,) = self.registrations(BOB)
        self.assertEqual((seen["relation"], seen["operations"]), ("SHARED", ["TOKEN"]))
        self.assertEqual(seen["shares"], [])
        (hers,) = self.registrations()
        self.assertEqual([share["principal"] for share in hers["shares"]], [f"user:{BOB}"])
        self.assert_does_not_exist(CAROL)

    def test_WhatTheShareDoesNotAllow_IsRefusedAndSaid(self):
        self.enrolled()
        self.share(f"user:{BOB}")
        for args in (("assertion",), ("delete", "--yes"), ("suspend",), ("edit", "--label", "mine"),
                     ("share", f"user:{CAROL}"), ("unshare", f"user:{BOB}")):
            refused = self.stack.ctl(BOB, args[0], SERVER, *args[1:])
            self.assert_refused(refused, 3, "share does not allow")
        self.assertEqual(self.registrations()[0]["state"], "ACTIVE")
        self.share(f"user:{BOB}", "--allow", "token,assertion")
        self.assertEqual(self.stack.ctl(BOB, "assertion", SERVER).code, 0)

    def test_TakenBack_HisNextRequestFailsAndWhoWatchesIsTold(self):
        registration = self.enrolled()
        with Watching(self.stack, user=BOB) as watching:
            watching.wait_for_event("SYNCED")
            self.share(f"user:{BOB}")
            seen = watching.wait_for_event("CURRENT")["registration"]
            self.assertEqual((seen["id"], seen["relation"]), (registration["id"], "SHARED"))
            self.token_of(BOB)
            self.unshare(f"user:{BOB}")
            watching.wait_for_event("REMOVED")
        self.assert_does_not_exist(BOB)
        self.assertEqual(self.registrations(BOB), [])
        self.token()
        again = self.stack.ctl(ALICE, "unshare", SERVER, f"user:{BOB}")
        self.assert_refused(again, 1, "nobody written like that")

    def test_AShareOutlivesTheDaemonAndEndsWhenItSaid(self):
        self.enrolled()
        self.share(f"user:{BOB}", "--for", "1h")
        self.share(f"group:{CAROL}", "--for", "6s")
        self.stack.kill_daemon()
        self.stack.start_daemon()
        self.token_of(BOB)
        wait_for(lambda: self.stack.ctl(CAROL, "token", SERVER).code == 1, "the end of the shorter one")
        self.assert_does_not_exist(CAROL)
        wait_for(lambda: len(self.registrations()[0]["shares"]) == 1, "it to be gone from the record", patience=90)
        self.token_of(BOB)

    def test_ScopeSubset_HisTokenIsANarrowerOneOfItsOwn(self):
        self.enrolled()
        hers = self.token()
        self.share(f"user:{BOB}", "--scope", "patient/*.rs")
        his = self.token_of(BOB)
        self.assertNotEqual(his, hers)
        answer = self.stack.ctl(BOB, "--json", "token", SERVER).json()
        self.assertEqual(answer["scope"], "patient/*.rs")
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", his)["id"], "pat-1")
        refused = self.stack.ctl(BOB, "token", SERVER, "--scope", "openid")
        self.assert_refused(refused, 3, "share allows only", r"patient/\*\.rs")
        wrong = self.stack.ctl(ALICE, "share", SERVER, f"user:{CAROL}", "--scope", "user/Practitioner.cruds")
        self.assert_refused(wrong, 2, "other scopes")
        both = self.stack.ctl(ALICE, "share", SERVER, f"user:{CAROL}", "--allow", "assertion", "--scope", "openid")
        self.assert_refused(both, 2, "every scope")

    def test_ByGroupAndByNumber(self):
        self.enrolled()
        self.share(f"group:{BOBS_GROUP}")
        self.token_of(BOB)
        self.assert_does_not_exist(CAROL)
        self.unshare(f"group:{BOBS_GROUP}")
        self.assert_does_not_exist(BOB)
        self.share("uid:8")  # CAROL's on every Debian
        self.token_of(CAROL)
        self.assert_refused(self.stack.ctl(ALICE, "share", SERVER, "user:nobody-at-all"), 1, "user")

    def test_Private_HerOwnProgramsNeedAShareAndSheManagesItStill(self):
        self.enrolled()
        self.share("--private")
        refused = self.stack.ctl(ALICE, "token", SERVER)
        self.assert_refused(refused, 3, "private", "--open")
        self.assert_refused(self.stack.ctl(ALICE, "assertion", SERVER), 3, "private")
        self.share(f"user:{BOB}")
        self.token_of(BOB)
        self.share("--open")
        self.token()

    def test_TheAdministratorSharesAndGetsNothingWithoutAShare(self):
        self.enrolled()
        self.assert_refused(self.stack.ctl("root", "token", HERS, "--public"), 1, "registration")
        self.share(f"user:{BOB}", user="root", registration=HERS)
        self.token_of(BOB)
        (hers,) = self.registrations()
        self.assertEqual(hers["shares"][0]["made_by"]["name"], "root")
        self.unshare(f"user:{BOB}", user="root", registration=HERS)
        self.assert_does_not_exist(BOB)

    def test_WhoManagesByAShare_PassesOnNoMoreThanHeHas(self):
        self.enrolled()
        self.share(f"user:{BOB}", "--allow", "token,manage", "--scope", "patient/*.rs")
        for args in ((f"user:{CAROL}",), (f"user:{CAROL}", "--allow", "manage"),
                     (f"user:{CAROL}", "--allow", "jwt"), ("--private",)):
            self.assert_refused(self.stack.ctl(BOB, "share", SERVER, *args), 3)
        self.share(f"user:{CAROL}", "--scope", "patient/*.rs", user=BOB)
        self.token_of(CAROL)
        self.unshare(f"user:{BOB}")
        self.assert_does_not_exist(CAROL)  # what he passed on ended with what he had

    def test_OneNameForTwo_IsHisOwnOrHersByHerName(self):
        hers = self.enrolled()
        self.assertEqual(self.stack.enroll(BOB, patient="pat-2").code, 0)
        self.addCleanup(self.stack.ctl, BOB, "delete", SERVER, "--yes")
        self.share(f"user:{BOB}")
        own = self.token_of(BOB)
        self.assertNotEqual(own, self.token_of(BOB, registration=HERS))
        self.assertEqual(self.token_of(BOB, registration=hers["id"]), self.token())

    def test_Explained_InWordsAndForOthers(self):
        self.enrolled()
        self.share(f"user:{BOB}", "--scope", "patient/*.rs")
        why = self.stack.ctl(ALICE, "explain", SERVER, "--as", f"user:{BOB}")
        self.assertEqual(why.code, 0, str(why))
        self.assertIn(f"share user:{BOB}: allows token, for patient/*.rs", why.out)
        self.assertIn("so: token", why.out)
        self.assertLessEqual(max(map(len, why.out.splitlines())), 80)
        other = self.stack.ctl(ALICE, "explain", SERVER, "--as", f"user:{CAROL}").out
        self.assertIn("another user", other)
        self.assertIn("no such registration", other)
        own = self.stack.ctl(BOB, "explain", SERVER)
        self.assertIn(f"share user:{BOB}", own.out)
        self.assert_does_not_exist(CAROL, "explain")


if __name__ == "__main__":
    unittest.main()
