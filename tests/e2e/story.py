# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: one Stack for a class, and checks on what people are told."""

import glob
import os
import re
import unittest

from stack import ALICE, SERVER, Stack, wait_for


class StackTest(unittest.TestCase):
    """Each class has a stack of its own; each test begins with a hospital that has forgotten everything and an
    empty list of registrations."""

    config = {}

    @classmethod
    def make_stack(cls):
        return Stack()

    @classmethod
    def setUpClass(cls):
        cls.stack = cls.make_stack()
        cls.addClassCleanup(cls.stack.close)
        cls.secrets = set()
        cls.stack.start(**cls.config)

    def setUp(self):
        self.stack.control("reset", {})
        for registration in self.registrations():
            self.stack.ctl(ALICE, "delete", registration["id"], "--yes")

    def registrations(self, user=ALICE):
        result = self.stack.ctl(user, "--json", "list")
        self.assertEqual(result.code, 0, str(result))
        return result.json()["registrations"]

    def enrolled(self, *args, **options):
        result = self.stack.enroll(ALICE, *args, **options)
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
        return next(r for r in self.registrations() if r["state"] == "ACTIVE")

    def token(self, registration=SERVER, *args):
        result = self.stack.ctl(ALICE, "token", registration, *args)
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
        token = result.out.strip()
        self.secrets.add(token)
        return token

    def assert_refused(self, result, code, *words):
        """Exit code and words; every refusal also says what to do next, on stderr or in enroll's output."""
        text = result.err or result.out
        self.assertEqual(result.code, code, f"{result}\n{self.stack.read_log()}")
        for word in words:
            self.assertRegex(text, re.compile(word, re.IGNORECASE), str(result))
        complaint = text[text.index("smartkeyctl:"):] if "smartkeyctl:" in text else ""
        self.assertGreaterEqual(len(complaint.strip().splitlines()), 2, f"no remedy in: {result}")
        self.assert_says_nothing_private(text)

    def assert_says_nothing_private(self, text):
        for secret in self.secrets | {"alice-password"}:
            self.assertNotIn(secret, text)
        self.assertNotRegex(text, r"\bpat-[12]\b")
        self.assertNotRegex(text, r"eyJ[A-Za-z0-9_-]{10,}\.eyJ")  # a JWT

    def assert_nothing_left(self):
        """No registration, no key reference, and no pending enrollment."""
        self.assertEqual(self.registrations(), [])
        status = self.stack.ctl("root", "--json", "status")
        self.assertEqual(status.code, 0, str(status))

    def state_bytes(self, audit=True):
        """All that is on disk; the audit log goes on naming a registration by its id when it is no more."""
        data = b""
        for path in glob.glob(os.path.join(self.stack.state, "**"), recursive=True):
            if os.path.isfile(path) and (audit or "/audit/" not in path):
                with open(path, "rb") as file:
                    data += file.read()
        return data


__all__ = ["StackTest", "ALICE", "SERVER", "wait_for"]
