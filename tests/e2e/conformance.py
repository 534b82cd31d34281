# SPDX-License-Identifier: Apache-2.0
"""What the tests of docs/conformance.md share. A test of item 7 is called test_item_07_...: scripts/conformance
finds it by that name."""

import contextlib
import glob
import json
import os
import re
import sqlite3
import subprocess
import time

from enrolling import Enrolling
from stack import ALICE, PATIENCE, SERVER
from story import StackTest

BOUND = 45          # seconds: what any single answer of a server may cost a person, with a slow machine's share
MEMORY_BOUND = 24   # MB that smartkeyd may have grown by after bad answers


class ConformanceTest(StackTest):
    def enroll_with_token(self, *args, server=SERVER, user=ALICE, token=None):
        """Discovery, registration and the first token, with an initial token instead of a browser."""
        value = token or self.stack.initial_token()["access_token"]
        self.secrets.add(value)
        return self.stack.ctl(user, "--json", "enroll", server, "--with-token-file", "-", *args, stdin=value)

    def assert_enrolled_with_token(self, *args, **options):
        result = self.enroll_with_token(*args, **options)
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
        registration = result.json()["registration"]
        self.assertEqual(registration["state"], "ACTIVE")
        return registration

    def begun(self, *args, **options):
        """smartkeyctl enroll, for as far as it comes without a person."""
        return Enrolling(self.stack, "--no-browser", *args, **options)

    def log_in(self, url):
        """The person's part, and the redirect back, by a script that fills in the pages."""
        browser = self.stack.spawn(ALICE, ["/usr/bin/python3", "-B", f"{self.stack.ehr_code}/login.py", url, "--follow"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(browser.wait(PATIENCE), 0)

    def error_of(self, result):
        """The JSON error, which names the reason, says what to do, and has nothing private."""
        self.assertNotEqual(result.code, 0, str(result))
        error = json.loads(result.out)["error"]
        self.assertEqual(error["exit_code"], result.code)
        self.assertTrue(error["remedy"])
        self.assert_says_nothing_private(result.out + result.err)
        return error

    def assert_error(self, result, reason, *words):
        error = self.error_of(result)
        self.assertEqual(error["reason"], reason, str(error))
        for word in words:
            self.assertRegex(error["message"], re.compile(word, re.IGNORECASE))
        return error

    @contextlib.contextmanager
    def bounded(self, seconds=BOUND):
        """What is done in the block takes bounded time, and leaves smartkeyd alive and no larger."""
        process = self.stack.processes["smartkeyd"]
        start, before = time.monotonic(), self.resident_megabytes()
        yield
        self.assertLess(time.monotonic() - start, seconds)
        self.assertIsNone(process.poll(), self.stack.read_log())
        if not self.stack.sanitized():
            self.assertLess(self.resident_megabytes() - before, MEMORY_BOUND)

    def resident_megabytes(self):
        with open(f"/proc/{self.stack.processes['smartkeyd'].pid}/status", encoding="utf-8") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) / 1024

    def stored_keys(self):
        """What the database has to find each key again: empty when the key is destroyed."""
        path = next(glob.iglob(os.path.join(self.stack.state, "*.db")))
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return [bytes(row[0]) for row in database.execute("SELECT key_blob FROM generations")]

    def ask(self, *args, registration=SERVER):
        """`smartkeyctl token`, whatever comes of it."""
        return self.stack.ctl(ALICE, "token", registration, *args)

    def answer_once(self):
        """Tokens of the server are good for one answer each from here on: every call costs a token request."""
        self.stack.switches(token_answer={"value": "expires_in", "raw": "0"})

    def forget_what_was_held_back(self):
        """The daemon's waits after failures, its cache and its budgets, which live as long as it does."""
        self.stack.kill_daemon()
        self.stack.start_daemon()

    def exchanges(self):
        return [r for r in self.stack.requests("/token") if r.get("grant_type") == "authorization_code"]

    def registrations_sent(self):
        return self.stack.requests("/register")


__all__ = ["ConformanceTest", "ALICE", "SERVER", "BOUND"]
