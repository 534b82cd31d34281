# SPDX-License-Identifier: Apache-2.0
"""Items 24 to 26 of docs/conformance.md: SIGKILL at the worst moments, a full disk, a read-only state directory."""

import signal
import subprocess
import unittest

from conformance import ALICE, SERVER, ConformanceTest
from small_disk import SmallDisk
from stack import SERVICE, Stack, wait_for


class EnrollingWithToken:
    """smartkeyctl enroll --with-token-file, while it is under way."""

    def __init__(self, test):
        self.test = test
        token = test.stack.initial_token()["access_token"]
        test.secrets.add(token)
        args = test.stack.ctl_args(ALICE, ("--json", "enroll", SERVER, "--with-token-file", "-"))
        self.process = test.stack.spawn(ALICE, args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.process.stdin.write(token)
        self.process.stdin.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def wait(self):
        out = self.process.stdout.read()
        return self.process.wait(), out


class Killed(ConformanceTest):
    def restart_after_kill(self):
        self.assertEqual(self.stack.kill_daemon(), -signal.SIGKILL)
        self.stack.start_daemon()

    def assert_orphaned_and_not_offered(self):
        (registration,) = self.registrations()
        self.assertEqual(registration["state"], "ORPHANED")
        self.assertEqual(self.stored_keys(), [b""])
        for name in (registration["id"], registration["name"]):
            refused = self.stack.ctl(ALICE, "token", name)
            self.assert_refused(refused, 4, "")
            self.assertEqual(refused.out, "")
        for command in ("assertion", "jwks"):
            self.assertNotIn(".", self.stack.ctl(ALICE, command, registration["id"]).out)
        self.assertEqual(len(self.registrations_sent()), 1)
        return registration

    def test_item_24_KilledWhileThe201Drips_ItIsOrphanedAndTheKeyIsGone(self):
        self.stack.switches(drip_ms={"register": 100})
        with EnrollingWithToken(self):
            # The server has done its work: its log has the 201, of which not all has come over.
            wait_for(lambda: [r["status"] for r in self.registrations_sent()] == [201], "the 201")
            self.restart_after_kill()
        registration = self.assert_orphaned_and_not_offered()
        self.assertEqual(self.stack.ctl(ALICE, "delete", registration["id"], "--yes").code, 0)
        self.stack.switches(drip_ms={"register": None})
        self.assert_enrolled_with_token()

    def test_item_24_KilledWhileThePostIsOut_ItIsOrphanedToo(self):
        self.stack.switches(delay_ms={"register": {"value": 5000, "times": 1}})
        with EnrollingWithToken(self):
            wait_for(lambda: not self.stack.control("switches"), "the POST")
            self.restart_after_kill()
        wait_for(self.registrations_sent, "the server to end its work")
        self.assert_orphaned_and_not_offered()

    def test_item_24_KilledWhileThePersonIsInTheBrowser_NothingIsLeft(self):
        with self.begun() as enrolling:
            url = enrolling.url
            enrolling.wait_until_said("The hardware key is made")
            self.restart_after_kill()
            self.assert_nothing_left()
            self.assertEqual(self.stored_keys(), [])
            self.log_in(url)
            self.assert_refused(enrolling.wait(), 4, "started anew before the login", "begin again")
        self.assertEqual(self.exchanges(), [])
        self.assertEqual(self.registrations_sent(), [])

    def test_item_24_KilledBeforeTheFirstToken_ItIsTakenUpAgainByItself(self):
        self.stack.switches(token_error={"error": "invalid_grant"})
        with EnrollingWithToken(self):
            wait_for(lambda: self.stack.token_requests(), "a first token to be asked for")
            wait_for(lambda: [r["state"] for r in self.registrations()] == ["VERIFYING"], "the wait for it")
            refused = self.stack.ctl(ALICE, "token", SERVER)
            self.assertEqual((refused.code, refused.out), (5, ""))
            self.restart_after_kill()
        self.assertEqual([r["state"] for r in self.registrations()], ["VERIFYING"])
        self.stack.switches(token_error=None)
        wait_for(lambda: [r["state"] for r in self.registrations()] == ["ACTIVE"], "the first token")
        self.assertEqual(len(self.registrations_sent()), 1)
        self.token()

    def test_item_25_KilledRightAfterSuccessWasTold_ATokenCanBeMinted(self):
        for _ in range(3):
            self.setUp()
            with EnrollingWithToken(self) as enrolling:
                code, out = enrolling.wait()
                self.assertEqual(self.stack.kill_daemon(), -signal.SIGKILL)
            self.assertEqual(code, 0, out)
            self.stack.start_daemon()
            before = len(self.stack.token_requests())
            self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")
            self.assertEqual(len(self.stack.token_requests()), before + 1)
            self.assertEqual(len(self.registrations_sent()), 1)


class Disk(ConformanceTest):
    """The state directory is a file system of its own, small enough to be filled."""

    @classmethod
    def setUpClass(cls):
        cls.stack = Stack()
        cls.addClassCleanup(cls.stack.close)
        cls.secrets = set()
        cls.disk = SmallDisk(cls.stack.state, SERVICE)
        cls.addClassCleanup(cls.disk.close)
        cls.stack.start()

    def setUp(self):
        self.disk.free()
        super().setUp()

    def test_item_26_DiskFull_NothingIsBegunAndWhatThereIsGoesOn(self):
        self.assert_enrolled_with_token()
        self.token()
        self.disk.fill()
        for _ in range(3):
            error = self.error_of(self.enroll_with_token("--name", "more"))
            self.assertRegex(error["reason"], "^STORE_(UNAVAILABLE|FULL)$")
            self.assertEqual(error["exit_code"], 4)
            self.assertIn("disk is full", error["message"])
            self.assertIn("free space", error["remedy"])
        self.assertEqual(len(self.registrations_sent()), 1)
        self.assertEqual([r["name"] for r in self.registrations()], [SERVER])
        self.token()
        self.disk.free()
        self.assert_enrolled_with_token("--name", "more")
        self.assertEqual(len(self.registrations()), 2)

    def test_item_26_DiskFullBeforeThePost_NothingIsSentAndItIsTold(self):
        with self.begun() as enrolling:
            url = enrolling.url
            enrolling.wait_until_said("The hardware key is made")  # and its reference saved
            self.disk.fill()
            self.log_in(url)
            result = enrolling.wait()
        self.assert_refused(result, 4, "disk|full|saved|space")
        self.assertEqual(self.registrations_sent(), [])
        self.disk.free()
        self.stack.kill_daemon()
        self.stack.start_daemon()
        self.assert_nothing_left()

    def test_item_26_DiskFullAfterThe201_ItIsToldKeptAndSavedLater(self):
        self.stack.switches(delay_ms={"register": {"value": 3000, "times": 1}})
        with EnrollingWithToken(self) as enrolling:
            wait_for(lambda: not self.stack.control("switches"), "the POST")
            self.disk.fill()
            code, out = enrolling.wait()
        self.assertEqual(code, 4, out)
        self.assertIn("REGISTERED_BUT_NOT_DURABLE", out)
        self.assertIn("saves the registration by itself", out)
        self.disk.free()
        wait_for(lambda: [r["state"] for r in self.registrations()] == ["ACTIVE"], "it to be saved")
        self.assertEqual(len(self.registrations_sent()), 1)
        self.stack.kill_daemon()
        self.stack.start_daemon()
        self.token()

    def test_item_26_AReadOnlyStateDirectoryIsToldAndNothingIsLost(self):
        self.assert_enrolled_with_token()
        self.stack.stop("smartkeyd")
        self.disk.set_read_only()
        self.addCleanup(self.disk.set_read_only, False)
        log = len(self.stack.read_log())
        self.stack.start_daemon(wait=False)
        process = self.stack.processes["smartkeyd"]

        def told():
            return process.poll() is not None or "read-only" in self.stack.read_log()[log:].lower()
        wait_for(told, "a word about the state directory")
        self.assertRegex(self.stack.read_log()[log:], r"(?i)read-?only|not writable|cannot be (written|opened)|lock")
        self.stack.stop("smartkeyd")
        self.disk.set_read_only(False)
        self.stack.start_daemon()
        self.token()
        self.assertEqual(len(self.registrations_sent()), 1)


if __name__ == "__main__":
    unittest.main()
