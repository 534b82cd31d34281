# SPDX-License-Identifier: Apache-2.0
"""A thousand streams on a thousand connections, of four people: as many as a big machine's apps may have."""

import json
import os
import re
import shutil
import subprocess
import threading
import unittest

from stack import ALICE, BOB, SERVER, Stack, wait_for

PEOPLE = (ALICE, BOB, "mail", "lp")
EACH = 250          # a user may have 256 connections
MOST_MIB = 96
PERMISSION_DENIED = "7"


class Watchers:
    """The streams of one person, in a process of its own."""

    def __init__(self, stack, user, registration):
        self.counts = {"first": 0, "messages": 0, "ended": {}}
        program = os.path.join(stack.bin, "token_watchers")
        self._process = stack.spawn(user, [program, str(EACH), registration, stack.socket], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            self.counts = json.loads(line)

    def close(self):
        self._process.stdin.close()
        self._reader.join()
        self._process.wait()
        self._process.stdout.close()


class ManyWatchersTest(unittest.TestCase):
    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.close)
        binaries = os.environ.get("SMARTKEY_BINARIES", "build/release")
        shutil.copy(os.path.join(binaries, "tests/integration/token_watchers"), self.stack.bin)
        self.stack.start()
        self.watchers = {}

    def resident_mib(self):
        with open(f"/proc/{self.stack.daemon_pid()}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) / 1024

    def wait_for_all(self, what, holds):
        wait_for(lambda: all(holds(one.counts) for one in self.watchers.values()),
                 f"{what}: {[one.counts for one in self.watchers.values()]}")

    def test_AThousandStreams_EachHasItsTokenAndTheDaemonStaysSmall(self):
        for user in PEOPLE:
            enrolled = self.stack.enroll(user)
            self.assertEqual(enrolled.code, 0, str(enrolled))
            registration = self.stack.ctl(user, "--json", "list").json()["registrations"][0]["id"]
            self.watchers[user] = Watchers(self.stack, user, registration)
            self.addCleanup(self.watchers[user].close)
        self.wait_for_all("the first message of each", lambda counts: counts["first"] == EACH)
        mib = self.resident_mib()
        print(f"{mib:.0f} MiB with {EACH * len(PEOPLE)} streams")
        if not self.stack.sanitized():
            self.assertLess(mib, MOST_MIB)

        asked = len(self.stack.token_requests())
        token = self.stack.ctl(ALICE, "token", SERVER).out.strip()
        rejected = self.stack.ctl(ALICE, "report-rejected", SERVER, stdin=token)
        self.assertEqual(rejected.code, 0, str(rejected))
        wait_for(lambda: self.watchers[ALICE].counts["messages"] >= 2 * EACH, "the new token on each of hers")
        self.assertEqual(len(self.stack.token_requests()), asked + 1)
        self.assertEqual(self.watchers[BOB].counts["messages"], EACH)

        suspended = self.stack.ctl(BOB, "suspend", SERVER)
        self.assertEqual(suspended.code, 0, str(suspended))
        wait_for(lambda: self.watchers[BOB].counts["ended"] == {PERMISSION_DENIED: EACH}, "the end of each of his")
        self.assertEqual(self.watchers[ALICE].counts["ended"], {})
        if not self.stack.sanitized():
            self.assertLess(self.resident_mib(), MOST_MIB)


if __name__ == "__main__":
    unittest.main()
