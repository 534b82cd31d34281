# SPDX-License-Identifier: Apache-2.0
"""What feeds systemd's watchdog (`WatchdogSec=`) and what does not, with a service manager that listens
(service_manager.py): hardware that hangs must not have the daemon killed, and cached tokens with it; a daemon that
hangs must be."""

import contextlib
import ctypes
import os
import signal
import subprocess
import unittest

from service_manager import ManagedStack
from stack import ALICE, SERVER, Failed, wait_for
from story import StackTest

# ptrace(2), which stops one thread and lets the others go on.
SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
ANY_CHILD = 0x40000000  # __WALL: a thread that is traced, and is no child
LIBC = ctypes.CDLL(None, use_errno=True)

# Seconds. A daemon that nobody calls says that it is well every five at least.
TWO_TURNS = 12


def ptrace(request, thread):
    if LIBC.ptrace(ctypes.c_long(request), ctypes.c_long(thread), None, None) != 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of thread {thread}")


class WatchdogTest(StackTest):
    @classmethod
    def make_stack(cls):
        return ManagedStack()

    def beats(self):
        return len(self.stack.manager.said("WATCHDOG", "1"))

    def call(self):
        """Has the accept thread take a turn."""
        self.assertEqual(self.stack.ctl(ALICE, "version").code, 0)

    def await_beats(self, count=3):
        before = self.beats()

        def came():
            self.call()
            return self.beats() >= before + count
        wait_for(came, f"{count} signs of life")

    def assert_no_beats(self, meanwhile=lambda: None):
        before = self.beats()

        def came():
            meanwhile()
            return self.beats() > before + 1  # one may have been on its way
        with self.assertRaises(Failed):
            wait_for(came, "signs of life", patience=TWO_TURNS)

    def state(self):
        return self.stack.ctl("root", "--json", "status").json()["hardware"]["state"]

    def assert_is_the_same(self, daemon):
        self.assertEqual(self.stack.daemon_pid(), daemon)
        self.assertIsNone(self.stack.processes["smartkeyd"].poll())


class HardwareHangs(WatchdogTest):
    def test_TheTpmIsFrozen_TheWatchdogIsFedAllTheWhile(self):
        self.enrolled()
        token = self.token()
        daemon, tpm = self.stack.daemon_pid(), self.stack.processes["swtpm"]
        self.addCleanup(tpm.send_signal, signal.SIGCONT)
        tpm.send_signal(signal.SIGSTOP)
        signing = self.stack.spawn(ALICE, self.stack.ctl_args(ALICE, ["assertion", SERVER]), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(signing.wait)
        self.addCleanup(signing.kill)
        self.await_beats()
        self.assertIsNone(signing.poll(), "it should wait for the frozen TPM")
        # Once that thread was given up, and while others wait for the TPM in vain.
        wait_for(lambda: self.state() != "READY", "the hardware to be given up")
        self.await_beats()
        self.assertEqual(self.token(), token)
        self.assert_is_the_same(daemon)
        tpm.send_signal(signal.SIGCONT)
        wait_for(lambda: self.state() == "READY", "the TPM to be taken up again", patience=120)
        self.assertEqual(self.stack.ctl(ALICE, "assertion", SERVER).code, 0)
        self.assert_is_the_same(daemon)


class ThreadHangs(WatchdogTest):
    @contextlib.contextmanager
    def frozen(self, name):
        """The one thread of that name does nothing any more."""
        tasks = f"/proc/{self.stack.daemon_pid()}/task"

        def content(thread, file):
            with open(f"{tasks}/{thread}/{file}", encoding="utf-8") as opened:
                return opened.read()
        (thread,) = (int(one) for one in os.listdir(tasks) if content(one, "comm").strip() == name)
        # Between two pieces of work: it holds no lock then, which would stop others as well.
        wait_for(lambda: content(thread, "stat").rpartition(")")[2].split()[0] == "S", f"{name} to have nothing to do")
        ptrace(SEIZE, thread)
        try:
            ptrace(INTERRUPT, thread)
            os.waitpid(thread, ANY_CHILD)
            yield
        finally:
            ptrace(DETACH, thread)

    def test_TheStoreHangs_TheWatchdogIsNotFedThoughCallsAreAnswered(self):
        self.await_beats()
        with self.frozen("store"):
            self.assert_no_beats(self.call)
        self.await_beats()

    def test_NobodyIsAccepted_TheWatchdogIsNotFed(self):
        self.await_beats()
        with self.frozen("accept"):
            self.assert_no_beats()
        self.await_beats()

    def test_TheHardwaresThreadHangs_TheWatchdogIsFed(self):
        self.await_beats()
        with self.frozen("hardware"):
            self.await_beats()


if __name__ == "__main__":
    unittest.main()
