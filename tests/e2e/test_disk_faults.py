# SPDX-License-Identifier: Apache-2.0
"""A disk that is full, or fails, from each crash point of every story in crashing.py on."""

import os
import signal
import subprocess
import threading
import unittest

from crashing import STORIES, CrashTest, wait_for
from small_disk import FailingDisk, SmallDisk
from stack import ALICE, SERVICE

# Both faults at each point of each story (scripts/test --deep); else one of the two, at each point once.
DEEP = bool(os.environ.get("SMARTKEY_DEEP"))

# What is told of a disk, whoever tells it.
OF_A_DISK = r"the disk|state directory"


class DiskFaults(CrashTest):
    """What the daemon could not write it does not call done; it says why, goes on with what it has, and either writes
    it when it can, or the next start finds the record as true as after a kill."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.seen = set()
        cls.stack.stop("smartkeyd")
        try:
            cls.disk = FailingDisk(cls.stack.state, SERVICE, os.path.join(cls.stack.dir, "disk"))
            cls.can_fail = True
        except subprocess.CalledProcessError:  # no loop device: what is left is to fill it
            cls.disk = SmallDisk(cls.stack.state, SERVICE)
            cls.can_fail = False
        cls.addClassCleanup(cls.disk.close)
        cls.stack.start_daemon()

    def tell_with_fault(self, story, passage, fault):
        """What smartkeyctl said when the fault came at that crash point."""
        self.prepare(story)
        if story.before:
            self.token(self.before["id"])
        daemon = self.stack.processes["smartkeyd"]
        self.stack.order("stop {} {}".format(*passage))
        told = []
        telling = threading.Thread(target=lambda: told.append(story.tell(self)))
        telling.start()
        wait_for(lambda: self.is_stopped(daemon.pid), f"the crash point {passage}")
        fault()
        self.stack.order(None)
        daemon.send_signal(signal.SIGCONT)
        telling.join()
        self.assertIsNone(daemon.poll(), "smartkeyd has ended")
        return told[0]

    @staticmethod
    def is_stopped(pid):
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"

    def check_while_it_lasts(self, story, said):
        store = self.stack.ctl("root", "--json", "status").json()["store"]
        text = said.out + said.err
        if said.code != 0 and story.fails_otherwise is None:
            self.assertEqual(said.code, 4, str(said))
            self.assertRegex(text, OF_A_DISK)
        elif said.code != 0:
            self.assertRegex(text, f"{OF_A_DISK}|{story.fails_otherwise}")
        if "not saved" in text:
            self.assertEqual(store["unsaved_changes"], 1)
        if not store["available"]:
            self.assertRegex(store["problem"], "disk")
        # What works without writing goes on.
        for registration in self.registrations():
            if story.before and registration["state"] == "ACTIVE":
                self.token(registration["id"])

    def fault_everywhere(self, story):
        passages = self.told(story)
        for position, passage in enumerate(passages):
            name = passage[0]
            if passage[1] > 1 or (not DEEP and name in self.seen):
                continue
            self.seen.add(name)
            passed = [name for name, _ in passages[:position + 1]]
            if DEEP or len(self.seen) % 2 == 0 or not self.can_fail:
                with self.subTest(story.name, passage=passage, disk="full"):
                    self.fill_and_free(story, passage, passed)
            if self.can_fail and (DEEP or len(self.seen) % 2 == 1):
                with self.subTest(story.name, passage=passage, disk="failing"):
                    self.fail_and_repair(story, passage, passed)

    def fill_and_free(self, story, passage, passed):
        said = self.tell_with_fault(story, passage, self.disk.fill)
        self.check_while_it_lasts(story, said)
        self.stack.switches(**story.switches_off())
        self.disk.free()
        # What the server's side needs, by itself; retired keys are looked at again after an hour, and at a start.
        self.come_to_rest({"PENDING", "REGISTERING", "VERIFYING"})
        self.assertEqual(self.stack.ctl("root", "--json", "status").json()["store"]["unsaved_changes"], 0)
        self.stack.kill_daemon()
        self.stack.start_daemon()
        # Nobody was killed before what the server had answered was saved.
        if "enrollment.registering" in passed:
            passed = [*passed, "enrollment.client_recorded"]
        self.check(story, said, passed)

    def fail_and_repair(self, story, passage, passed):
        said = self.tell_with_fault(story, passage, self.disk.fail)
        self.check_while_it_lasts(story, said)
        self.stack.switches(**story.switches_off())
        self.stack.kill_daemon()
        self.disk.repair()
        self.stack.start_daemon()
        self.check(story, said, passed)


def _add(story):
    def test(self):
        self.fault_everywhere(story())
    setattr(DiskFaults, f"test_{story.__name__}OnADiskThatIsFullOrFails_TellsAndLosesNothing", test)


for _story in STORIES:
    _add(_story)


if __name__ == "__main__":
    unittest.main()
