# SPDX-License-Identifier: Apache-2.0
"""Tokens over restarts of smartkeyd, with a service manager that keeps their memory (service_manager.py), read through
the manager's own descriptor."""

import glob
import os
import random
import signal
import tempfile
import threading
import time
import unittest

from service_manager import NAME, ManagedStack
from stack import ALICE, SERVER, Stack, wait_for
from story import StackTest

OTHER_SCOPE = ("--scope", "patient/*.rs")
ROUNDS = 20


class KeptTest(StackTest):
    @classmethod
    def make_stack(cls):
        return ManagedStack()

    @property
    def manager(self):
        return self.stack.manager

    def setUp(self):
        super().setUp()
        self.enrolled()
        self.first, self.other = self.token(), self.token(SERVER, *OTHER_SCOPE)
        self.assertNotEqual(self.first, self.other)
        self.asked = len(self.stack.token_requests())

    def assert_requests(self, count):
        """Token requests since the registration had its two tokens."""
        self.assertEqual(len(self.stack.token_requests()) - self.asked, count)

    def assert_same_tokens(self):
        self.assertEqual((self.token(), self.token(SERVER, *OTHER_SCOPE)), (self.first, self.other))

    def restart(self, how=signal.SIGTERM):
        self.stack.stop("smartkeyd", how)
        self.stack.start_daemon()

    def holds(self, token):
        return self.manager.holds(token.encode())


class Load:
    """People who ask for the token all the time, from several processes at once."""

    def __init__(self, stack, people=3):
        self.stack, self.stopped, self.answers, self.codes = stack, threading.Event(), set(), []
        self.threads = [threading.Thread(target=self._ask) for _ in range(people)]

    def _ask(self):
        while not self.stopped.is_set():
            result = self.stack.ctl(ALICE, "token", SERVER)
            self.codes.append(result.code)
            if result.code == 0:
                self.answers.add(result.out.strip())

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        for thread in self.threads:
            thread.join()


class KeptTokens(KeptTest):
    def over_restarts_under_load(self, how):
        with Load(self.stack) as load:
            for _ in range(ROUNDS):
                served = load.codes.count(0)
                wait_for(lambda before=served: load.codes.count(0) > before, "somebody to be served")
                self.restart(how)
            self.assert_same_tokens()
        self.assertEqual(load.answers, {self.first})
        # A call that was under way when the process was killed may be told to come again, nothing else.
        self.assertLessEqual(set(load.codes), {0, 5, 6}, load.codes)
        self.assert_requests(0)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.first)["id"], "pat-1")

    def test_RestartedTwentyTimesUnderLoad_NoTokenIsAskedFor(self):
        self.over_restarts_under_load(signal.SIGTERM)

    def test_KilledTwentyTimesUnderLoad_NoTokenIsAskedFor(self):
        self.over_restarts_under_load(signal.SIGKILL)

    def test_PushedOnce_AndNeverAgainByTheNext(self):
        self.stack.stop("smartkeyd")
        self.manager.forget()
        pushed, removed = len(self.manager.said("FDSTORE", "1")), len(self.manager.said("FDSTOREREMOVE", "1"))
        for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            self.restart(how)
        self.assertEqual(self.manager.said("FDSTORE", "1")[pushed:],
                         [{"FDSTORE": "1", "FDPOLL": "0", "FDNAME": NAME}])
        self.assertEqual(len(self.manager.said("FDSTOREREMOVE", "1")), removed)
        self.assertEqual(len(self.manager.kept()), 1)

    def test_KilledWhileTokensAreReplaced_EachStartServesAGoodOneForOneRequest(self):
        for _ in range(ROUNDS):
            token = self.token()
            before = len(self.stack.token_requests())
            report = threading.Thread(target=self.stack.ctl, args=(ALICE, "report-rejected", SERVER),
                                      kwargs={"stdin": token})
            report.start()
            time.sleep(random.uniform(0, 0.15))  # any moment of the report and of what it sets going
            self.stack.kill_daemon()
            self.stack.start_daemon()
            report.join()
            new = self.token()
            self.assertEqual(self.stack.fhir_get("Patient/pat-1", new)["id"], "pat-1")
            # The one that was under way when it was killed, if it was, and that of the next process.
            self.assertLessEqual(len(self.stack.token_requests()) - before, 2)
            self.assertEqual(self.token(), new)
        self.assertEqual(self.token(SERVER, *OTHER_SCOPE), self.other)

    def test_item_59_SuspendedReportedOrDeletedNothingOfItIsInTheMemory(self):
        self.assertTrue(self.holds(self.first))
        self.assertEqual(self.stack.ctl(ALICE, "report-rejected", SERVER, stdin=self.first).code, 0)
        self.assertFalse(self.holds(self.first))
        self.assertTrue(self.holds(self.other))
        token = self.token()
        self.assertTrue(self.holds(token))
        self.assertEqual(self.stack.ctl(ALICE, "suspend", SERVER).code, 0)
        self.assertFalse(self.holds(token) or self.holds(self.other))
        self.restart()
        self.assertEqual(self.stack.ctl(ALICE, "resume", SERVER).code, 0)
        again = self.token()
        self.assertTrue(self.holds(again))
        self.assertEqual(self.stack.ctl(ALICE, "delete", SERVER, "--yes").code, 0)
        self.assertFalse(self.holds(again))
        # Nor whose they were: all that is left is the page that says whose memory it is.
        self.assertEqual([page for place, page in self.manager.memory() if place > 0 and any(page)], [])

    def test_ASlotIsDamaged_CostsExactlyOneRequest(self):
        self.stack.stop("smartkeyd")
        self.manager.damage(self.first.encode())
        self.stack.start_daemon()
        self.assertEqual(self.token(SERVER, *OTHER_SCOPE), self.other)
        self.assert_requests(0)
        new = self.token()
        self.assertNotEqual(new, self.first)
        self.assert_requests(1)
        self.restart(signal.SIGKILL)
        self.assertEqual((self.token(), self.token(SERVER, *OTHER_SCOPE)), (new, self.other))
        self.assert_requests(1)

    def test_TheManagerForgets_TheNextBeginsWithAnEmptyCache(self):
        self.stack.stop("smartkeyd")
        self.manager.forget()
        self.stack.start_daemon()
        self.assertNotEqual(self.token(), self.first)
        self.assert_requests(1)
        first = self.token()
        self.restart()
        self.assertEqual(self.token(), first)

    def test_AnExpiredOne_IsNeitherServedNorLeft(self):
        self.stack.switches(access_token_ttl=12)
        self.assertEqual(self.stack.ctl(ALICE, "report-rejected", SERVER, stdin=self.first).code, 0)
        short = self.token()
        self.stack.stop("smartkeyd")
        self.assertTrue(self.holds(short))
        asked = time.monotonic()
        wait_for(lambda: time.monotonic() - asked > 13, "the token to expire")
        self.stack.start_daemon()
        self.assertFalse(self.holds(short))
        self.assertEqual(self.token(SERVER, *OTHER_SCOPE), self.other)
        self.assertNotEqual(self.token(), short)

    def test_OtherDescriptorsUnderItsName_AreRefusedAndReplaced(self):
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        with tempfile.TemporaryFile() as file:
            file.write(b"contents")
            file.flush()
            others = [reading, os.dup(file.fileno()), os.memfd_create("foreign")]
            self.stack.stop("smartkeyd")
            removed = len(self.manager.said("FDSTOREREMOVE", "1"))
            self.manager.forget()
            for other in others:
                self.manager.store(NAME, other)
            self.stack.start_daemon()
            self.assertEqual(len(self.manager.said("FDSTOREREMOVE", "1")), removed + 1)
            self.assertEqual(os.pread(file.fileno(), 100, 0), b"contents")
        self.assertEqual(len(self.manager.kept()), 1)
        first = self.token()
        self.restart(signal.SIGKILL)
        self.assertEqual(self.token(), first)
        self.assert_requests(1)

    def test_GoodOneBesideAnother_IsUsedAndIsTheOnlyOneAfterwards(self):
        self.stack.stop("smartkeyd")
        self.manager.store(NAME, os.memfd_create("foreign"))
        self.stack.start_daemon()
        self.assertEqual(len(self.manager.kept()), 1)
        self.restart()
        self.assert_same_tokens()
        self.assert_requests(0)

    def test_item_56_KeptTokensAreInNoFileAndNotInWhatOthersMaySeeOfTheProcess(self):
        self.restart()
        self.assert_same_tokens()
        pid = self.stack.processes["smartkeyd"].pid
        paths = [path for folder in (self.stack.state, self.stack.run)
                 for path in glob.glob(f"{folder}/**", recursive=True, include_hidden=True) if os.path.isfile(path)]
        paths += [self.stack.daemon_log, self.stack.config, *(f"/proc/{pid}/{name}" for name in ("environ", "cmdline"))]
        self.assertTrue(any(path.endswith(".db") for path in paths), paths)
        for token in (self.first, self.other):
            pieces = [token[at:at + 16].encode() for at in range(0, len(token) - 15, 4)]
            self.assertTrue(all(self.manager.holds(piece) for piece in pieces))  # the search finds what is there
            for path in paths:
                with open(path, "rb") as file:
                    data = file.read()
                self.assertEqual([piece for piece in pieces if piece in data], [], path)

    def test_AnotherDatabase_TheTokensAreWipedBeforeItServes(self):
        self.stack.stop("smartkeyd")
        seen = os.dup(self.manager.kept()[0])
        self.addCleanup(os.close, seen)
        state, self.stack.state = self.stack.state, self.stack._make_dir("another-state", "daemon", 0o700)
        self.stack.write_config()
        self.stack.start_daemon()
        self.assertFalse(self.holds(self.first))
        data = os.pread(seen, 1 << 20, 0)
        self.assertNotIn(self.first.encode(), data)
        self.assertNotIn(self.other.encode(), data)
        self.stack.stop("smartkeyd")
        self.stack.state = state
        self.stack.write_config()
        self.stack.start_daemon()
        self.assertNotEqual(self.token(), self.first)
        self.assert_requests(1)


class NothingKeeps(StackTest):
    @classmethod
    def make_stack(cls):
        return Stack()

    def test_WithoutAServiceManager_ARestartCostsOneRequest(self):
        self.enrolled()
        first = self.token()
        asked = len(self.stack.token_requests())
        self.stack.stop("smartkeyd")
        self.stack.start_daemon()
        self.assertNotEqual(self.token(), first)
        self.assertEqual(len(self.stack.token_requests()) - asked, 1)


if __name__ == "__main__":
    unittest.main()
