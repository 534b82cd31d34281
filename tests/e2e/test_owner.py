# SPDX-License-Identifier: Apache-2.0
"""What owners and administrators do with registrations that work: suspend, delete, rotate, edit, watch, and see the
end of an access come."""

import os
import signal
import sqlite3
import threading
import time
import unittest

from stack import ALICE, BOB, SERVER, Failed, wait_for
from story import StackTest
from watching import Watching


class Suspending(StackTest):
    def cache(self, key):
        return self.stack.ctl("root", "--json", "status").json()["cache"][key]

    def cached_tokens(self):
        return self.cache("entries")

    def in_flight(self):
        return self.cache("in_flight")

    def test_SuspendedAtOnceOverARestartAndUntilResumed(self):
        registration = self.enrolled()
        self.token()
        done = self.stack.ctl(ALICE, "suspend", SERVER, "--why", "lost laptop")
        self.assertEqual((done.code, done.out), (0, f"Suspended {registration['id']}\n"), str(done))
        self.assertEqual(self.cached_tokens(), 0)
        self.assert_refused(self.stack.ctl(ALICE, "token", SERVER), 4, "suspended", "resume")
        self.assert_refused(self.stack.ctl(ALICE, "assertion", SERVER), 4, "suspended")
        self.assert_refused(self.stack.enroll(ALICE, command="renew"), 4, "suspended")
        self.stack.kill_daemon()
        self.stack.start_daemon()
        self.assert_refused(self.stack.ctl(ALICE, "token", SERVER), 4, "suspended")
        shown = self.registrations()[0]
        self.assertEqual(shown["state_words"], "suspended")
        self.assertEqual(shown["suspended"]["why"], "lost laptop")
        self.assertEqual(shown["suspended"]["by"]["name"], ALICE)
        self.assertEqual(self.stack.ctl(ALICE, "resume", SERVER).code, 0)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")
        self.assertEqual(len(self.stack.requests("/register")), 1)

    def test_ATokenOnItsWayIsNotHandedOut(self):
        self.enrolled()
        self.stack.switches(delay_after_ms={"token": 5000})
        results = []
        # Other scopes than those of the cached token: this one has to be fetched.
        asking = threading.Thread(target=lambda: results.append(
            self.stack.ctl(ALICE, "token", SERVER, "--scope", "patient/*.rs")))
        asking.start()
        wait_for(lambda: self.in_flight() == 1, "the token request to be under way")
        self.assertEqual(self.stack.ctl(ALICE, "suspend", SERVER).code, 0)
        asking.join()
        self.assert_refused(results[0], 4, "suspended")
        self.assertEqual(results[0].out, "")
        # The server's answer comes later, and is dropped.
        wait_for(lambda: len(self.stack.token_requests()) == 2, "the server to have given the token")
        self.stack.switches(delay_after_ms={"token": None})
        self.assertEqual(self.stack.ctl(ALICE, "resume", SERVER).code, 0)
        self.assertEqual(self.cached_tokens(), 0)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")

    def test_WhatAnAdministratorSuspendedOnlyAnAdministratorResumes(self):
        registration = self.enrolled()
        done = self.stack.ctl("root", "--json", "suspend", "--owner", ALICE, "--why", "incident 7")
        self.assertEqual(done.code, 0, str(done))
        self.assertEqual(done.json()["suspended"], [registration["id"]])
        self.assert_refused(self.stack.ctl(ALICE, "token", SERVER), 4, "suspended")
        self.assert_refused(self.stack.ctl(ALICE, "resume", SERVER), 3, "administrator")
        kept = self.stack.ctl(ALICE, "--json", "resume", "--all")
        self.assertEqual((kept.code, kept.json()["still_suspended"]), (0, [registration["id"]]), str(kept))
        shown = self.stack.ctl(ALICE, "show", SERVER)
        self.assertRegex(shown.out, r"root, as administrator")
        self.assertRegex(shown.out, r"incident 7")
        self.assertEqual(self.stack.ctl("root", "resume", "--admin", "--server", SERVER).code, 0)
        self.token()

    def test_SomebodyElsesCannotBeSuspended(self):
        registration = self.enrolled()
        unknown = self.stack.ctl(BOB, "suspend", "no-such-thing")
        for target in ([SERVER], [registration["id"]], ["--server", SERVER], ["--all"]):
            refused = self.stack.ctl(BOB, "suspend", *target)
            self.assertEqual((refused.code, refused.err), (unknown.code, unknown.err), str(refused))
        self.assertNotIn("suspended", self.registrations()[0])


class Deleting(StackTest):
    def key_blob(self):
        """The wrapped key as the database has it; read from a copy, so that nothing is disturbed."""
        path = os.path.join(self.stack.dir, "copy.db")
        live = sqlite3.connect(f"file:{self.stack.state}/smartkeyd.db?mode=ro", uri=True)
        copy = sqlite3.connect(path)
        live.backup(copy)
        blob = copy.execute("SELECT key_blob FROM generations").fetchone()[0]
        copy.close()
        live.close()
        os.unlink(path)
        return blob

    def test_item_59_NothingIsLeftOfADeletedRegistration(self):
        registration = self.enrolled("--name", "daughters-chart", "--label", "Daughter's chart")
        token = self.token("daughters-chart")
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", token)["id"], "pat-1")
        traces = [registration["generation"]["client_id"].encode(),
                  registration["generation"]["key"]["thumbprint"].encode(), b"daughters-chart", b"Daughter's chart",
                  b"pat-1", self.key_blob()]
        for trace in traces:
            self.assertIn(trace, self.state_bytes())
        result = self.stack.ctl(ALICE, "delete", "daughters-chart", "--yes")
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
        self.assertRegex(result.err.strip().splitlines()[-1], "portal may still list the app")
        data = self.state_bytes()
        for trace in traces:
            self.assertNotIn(trace, data)
        self.assertNotIn(registration["id"].encode(), self.state_bytes(audit=False))
        self.assertEqual(self.registrations(), [])
        status = self.stack.ctl("root", "--json", "status").json()
        self.assertEqual(status["cache"]["entries"], 0)
        # The server was told, once, in the client's name, and has ended the token.
        revocations = self.stack.requests("/revoke")
        self.assertEqual([r["client_id"] for r in revocations], [registration["generation"]["client_id"]])
        with self.assertRaisesRegex(Failed, "401"):
            self.stack.fhir_get("Patient/pat-1", token)
        again = self.stack.ctl(ALICE, "delete", registration["id"], "--yes")
        self.assert_refused(again, 1, "registration")

    def test_item_59_ARevocationThatFailsHoldsNothingUp(self):
        for fault in ({"drop_before": {"revoke": True}}, {"drop_after": {"revoke": True}},
                      {"delay_ms": {"revoke": 60000}}):
            with self.subTest(fault=fault):
                self.stack.control("reset", {})
                self.enrolled()
                self.token()
                self.stack.switches(**fault)
                begin = time.monotonic()
                result = self.stack.ctl(ALICE, "delete", SERVER, "--yes")
                self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
                self.assertLess(time.monotonic() - begin, 30)
                self.assertEqual(self.registrations(), [])

    def test_item_59_AServerThatIsGoneHoldsNothingUp(self):
        self.enrolled()
        self.token()
        port = int(self.stack.ready["fhir_base"].split(":")[2].split("/")[0])
        self.stack.stop("ehr")
        try:
            self.assertEqual(self.stack.ctl(ALICE, "delete", SERVER, "--yes").code, 0)
            self.assertEqual(self.registrations(), [])
        finally:
            self.stack.start_ehr(port=port)

    def test_item_59_ADeletionThatWasKilledIsFinishedAtTheNextStart(self):
        registration = self.enrolled()
        self.token()
        self.stack.switches(delay_ms={"revoke": 60000})
        deleting = threading.Thread(target=lambda: self.stack.ctl(ALICE, "delete", SERVER, "--yes"))
        deleting.start()
        wait_for(lambda: self.registrations()[0]["state"] == "DELETING", "the deletion to begin")
        self.stack.kill_daemon()
        deleting.join()
        self.stack.switches(delay_ms={"revoke": None})
        self.stack.start_daemon()
        wait_for(lambda: self.registrations() == [], "the deletion to be finished")
        self.assertNotIn(registration["generation"]["client_id"].encode(), self.state_bytes())


class Ending(StackTest):
    def test_AnEndThatWasSaidIsShownListedAndGoneAfterARenewal(self):
        self.enrolled("--access-for", "10d")
        shown = self.registrations()[0]["expected_end"]
        self.assertEqual(shown["source"], "PERSON")
        listed = self.stack.ctl(ALICE, "list", "--ending", "14d")
        self.assertEqual(listed.code, 4, str(listed))
        self.assertIn(SERVER, listed.out)
        self.assertEqual(self.stack.ctl(ALICE, "list", "--ending", "9d").code, 0)
        self.stack.kill_daemon()
        self.stack.start_daemon()
        self.assertEqual(self.registrations()[0]["expected_end"], shown)
        with Watching(self.stack) as watching:
            self.assertEqual(watching.wait_for_event("ENDING")["ending_days"], 14)
            renewed = self.stack.enroll(ALICE, "--access-for", "1y", command="renew")
            self.assertEqual(renewed.code, 0, str(renewed))
            event = watching.wait_for("the new end", lambda e: e["event"] == "CURRENT" and
                                      e["registration"].get("expected_end", shown) != shown)
            self.assertEqual(event["registration"]["expected_end"]["source"], "PERSON")
        self.assertEqual(self.stack.ctl(ALICE, "list", "--ending", "14d").code, 0)

    def test_WhatWasSaidCanBeCorrected(self):
        self.enrolled()
        self.assertNotIn("expected_end", self.registrations()[0])
        edited = self.stack.ctl(ALICE, "edit", SERVER, "--access-for", "7d", "--name", "mum", "--label", "Mum's")
        self.assertEqual(edited.code, 0, str(edited))
        self.assertEqual(self.stack.ctl(ALICE, "list", "--ending", "8d").code, 4)
        self.assertEqual(self.stack.ctl(ALICE, "edit", "mum", "--access-for", "0s").code, 0)
        self.assertEqual(self.stack.ctl(ALICE, "list", "--ending", "8d").code, 0)
        self.assertEqual(self.registrations()[0]["label"], "Mum's")


class Rotating(StackTest):
    def test_RotatingSaysThatItTakesALoginAndNamesTheCommand(self):
        before = self.enrolled()
        refused = self.stack.ctl(ALICE, "rotate", SERVER)
        self.assert_refused(refused, 4, "login", f"'smartkeyctl renew {SERVER}'")
        self.assertEqual(self.registrations()[0]["generation"]["key"], before["generation"]["key"])
        self.token()


class WatchingRegistrations(StackTest):
    def test_EachChangeIsToldToWhomItConcernsAndToNobodyElse(self):
        with Watching(self.stack) as own, Watching(self.stack, user=BOB) as other, \
                Watching(self.stack, "--all", user="root") as administrator:
            for watching in (own, other, administrator):
                watching.wait_for_event("SYNCED")
            registration = self.enrolled()
            event = own.wait_for("an enrollment that works", lambda e: e["event"] == "CURRENT" and
                                 e["registration"]["state"] == "ACTIVE")
            self.assertEqual(event["registration"]["patient"], "pat-1")
            event = administrator.wait_for("the same", lambda e: e["event"] == "CURRENT" and
                                           e["registration"]["state"] == "ACTIVE")
            self.assertNotIn("patient", event["registration"])
            self.stack.ctl(ALICE, "suspend", SERVER)
            own.wait_for("the suspension", lambda e: e["event"] == "CURRENT" and "suspended" in e["registration"])
            self.stack.ctl(ALICE, "delete", SERVER, "--yes")
            for watching in (own, administrator):
                self.assertEqual(watching.wait_for_event("REMOVED")["registration_id"], registration["id"])
            self.assertEqual([event["event"] for event in other.events()], ["SYNCED"])

    def test_OneIsWatchedUntilItIsGone(self):
        self.enrolled()
        with Watching(self.stack, SERVER) as watching:
            watching.wait_for_event("SYNCED")
            self.stack.ctl(ALICE, "delete", SERVER, "--yes")
            watching.wait_for_event("REMOVED")
            self.assertEqual(watching.wait_for_end()[0], 0)
        unknown = self.stack.ctl(ALICE, "watch", SERVER)
        self.assert_refused(unknown, 1, "registration")

    def test_AStopOfTheDaemonIsQuickAndTold(self):
        self.enrolled()
        with Watching(self.stack) as watching:
            watching.wait_for_event("SYNCED")
            begin = time.monotonic()
            self.assertEqual(self.stack.stop("smartkeyd", signal.SIGTERM), 0)
            self.assertLess(time.monotonic() - begin, 10)
            code, said = watching.wait_for_end()
            self.assertEqual(code, 5, said)
            self.assertRegex(said, "shutting down")
            self.assertEqual(watching.events()[-1]["error"]["reason"], "SHUTTING_DOWN")
        self.stack.start_daemon()


if __name__ == "__main__":
    unittest.main()
