# SPDX-License-Identifier: Apache-2.0
"""What was done is written down, can be read by whom it is about, and cannot be changed unseen."""

import base64
import glob
import hashlib
import json
import os
import time

from small_disk import SmallDisk
from stack import ALICE, BOB, SERVER, SERVICE, wait_for
from story import StackTest

HERS = f"{ALICE}/{SERVER}"


class AuditTest(StackTest):
    def entries(self, user=ALICE, *args):
        result = self.stack.ctl(user, "--json", "audit", *(("--all",) if user == "root" else ()), *args)
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
        return [json.loads(line) for line in result.out.splitlines()]

    def wait_for_entries(self, fits, user="root", count=1):
        """They are written by a thread of its own, after the fact."""
        def found():
            some = [entry for entry in self.entries(user) if fits(entry)]
            return some if len(some) >= count else None
        return wait_for(found, "entries in the audit log")

    def files(self):
        return sorted(glob.glob(f"{self.stack.state}/audit/audit-*.log"))

    def text_of_files(self):
        text = ""
        for file in self.files():
            with open(file, encoding="utf-8") as log:
                text += log.read()
        return text

    def verify(self, *args):
        result = self.stack.ctl("root", "--json", "audit", "--verify", *args)
        return result.code, result.json()


class Audit(AuditTest):
    def test_WhatIsDone_IsWrittenWithItsCallerAndReadByWhomItIsAbout(self):
        registration = self.enrolled()["id"]
        token = self.token()
        self.token()
        self.stack.ctl(ALICE, "share", SERVER, f"user:{BOB}")
        self.assertEqual(self.stack.ctl(BOB, "token", HERS).code, 0)
        self.stack.ctl(ALICE, "unshare", SERVER, f"user:{BOB}")
        self.assertNotEqual(self.stack.ctl(BOB, "token", HERS).code, 0)
        self.stack.ctl(ALICE, "assertion", SERVER)
        self.stack.ctl("root", "suspend", HERS)
        self.stack.ctl("root", "resume", HERS)

        def of(operation):
            return lambda entry: entry["operation"] == operation and entry.get("registration") == registration
        for operation in ("EnrollmentService/BeginEnrollment", "EnrollmentService/CompleteEnrollment",
                          "SharingService/ShareRegistration", "SharingService/UnshareRegistration",
                          "SigningService/SignClientAssertion", "RegistrationService/SuspendRegistrations",
                          "RegistrationService/ResumeRegistrations"):
            (entry,) = self.wait_for_entries(of(operation))
            self.assertEqual(entry["outcome"], "OK")
            self.assertIn(entry["user"]["name"], (ALICE, "root"))
        self.assertTrue(entry["admin"])
        digest = hashlib.sha256(token.encode()).digest()[:16]
        (hers, bobs) = [entry for entry in self.wait_for_entries(of("TokenService/GetAccessToken"), count=2)
                        if "repeats" not in entry][:2]
        self.assertEqual([hers["user"]["name"], bobs["user"]["name"]], [ALICE, BOB])
        self.assertEqual(hers["facts"]["token"], base64.urlsafe_b64encode(digest).decode().rstrip("="))
        (refused,) = self.wait_for_entries(of("access/token"))
        self.assertEqual((refused["user"]["name"], refused["outcome"]), (BOB, "REGISTRATION_NOT_FOUND"))

        # She sees what is about hers, he nothing of it.
        self.assertTrue(all(entry.get("registration") == registration for entry in self.entries()))
        self.assertGreater(len(self.entries()), 7)
        self.assertEqual(self.entries(BOB), [])
        self.assert_refused(self.stack.ctl(BOB, "audit", HERS), 1, "registration")
        self.assert_refused(self.stack.ctl(ALICE, "audit", "--verify"), 1, "socket")
        code, found = self.verify()
        self.assertEqual((code, found["problems"]), (0, []))

        # Nothing secret and nothing about the patient; the words for people fit on a terminal.
        text = self.text_of_files()
        for private in (token, "pat-1", SERVER + '"', "Growth"):
            self.assertNotIn(private, text)
        words = self.stack.ctl("root", "audit", "--all").out
        self.assertRegex(words, f"{ALICE}( in [^:]*)?: ShareRegistration OK")
        self.assertLessEqual(max(map(len, words.splitlines())), 120)

    def test_AnybodyCanCheckTheChainWithoutUs(self):
        self.enrolled()
        previous = None
        for file in self.files():
            with open(file, "rb") as log:
                lines = log.read().splitlines()
            for line in lines:
                sum_, text = line.split(b" ", 1)
                entry = json.loads(text)
                if previous is None:
                    previous = entry["facts"]["previous"].split(":")[1].encode()
                self.assertEqual(hashlib.sha256(previous + b" " + text).hexdigest().encode(), sum_)
                previous = sum_

    def test_FollowedWhileThingsHappen_TheyComeAsTheyAreDone(self):
        registration = self.enrolled()["id"]
        follower = self.stack.spawn(ALICE, self.stack.ctl_args(ALICE, ["--json", "audit", SERVER, "--follow"]),
                                    stdout=-1, stdin=-3, stderr=-3, text=True)
        try:
            self.stack.ctl(ALICE, "edit", SERVER, "--label", "mine")
            for line in follower.stdout:
                entry = json.loads(line)
                self.assertEqual(entry["registration"], registration)
                if entry["operation"] == "RegistrationService/UpdateRegistration":
                    self.assertEqual(entry["facts"], {"changed": "label"})
                    break
        finally:
            follower.kill()
            follower.communicate()

    def test_KilledAtAnyTime_TheChainGoesOn(self):
        self.enrolled()
        for _ in range(5):
            for _ in range(3):
                self.stack.ctl(ALICE, "edit", SERVER, "--label", "x")
            self.stack.kill_daemon()
            self.stack.start_daemon()
        code, found = self.verify()
        self.assertEqual((code, found["problems"]), (0, []))
        starts = [entry for entry in self.entries("root") if entry["operation"] == "smartkeyd/start"]
        self.assertGreaterEqual(len(starts), 6)


class AuditThatWasChanged(AuditTest):
    def test_ALineIsChanged_TheCheckNamesIt(self):
        self.enrolled()
        self.wait_for_entries(lambda entry: entry["operation"] == "EnrollmentService/CompleteEnrollment")
        anchor = self.verify()[1]["head"]
        self.assertEqual(self.verify("--anchor", anchor)[1]["anchored_sequence"], int(anchor.split(":")[0]))
        self.stack.stop("smartkeyd")
        file = self.files()[-1]
        with open(file, encoding="utf-8") as log:
            lines = log.readlines()
        at = next(i for i, line in enumerate(lines) if "CompleteEnrollment" in line)
        changed = lines[at].replace(f'"name":"{ALICE}"', '"name":"nobody"')
        self.assertNotEqual(changed, lines[at])
        with open(file, "w", encoding="utf-8") as log:
            log.write("".join(lines[:at] + [changed] + lines[at + 1:]))
        self.stack.start_daemon()
        code, found = self.verify("--anchor", anchor)
        self.assertEqual(code, 1)
        self.assertEqual(found["first_broken"], json.loads(lines[at].split(" ", 1)[1])["seq"])
        self.assertEqual(found["anchored_sequence"], 0)
        doctor = self.stack.ctl("root", "--json", "doctor", "--area", "audit")
        self.assertEqual(doctor.code, 1)
        broken = [json.loads(line) for line in doctor.out.splitlines() if '"BROKEN"' in line]
        self.assertEqual([result["number"] for result in broken], [62])


class AuditOnAFullDisk(StackTest):
    config = {"extra": '[audit]\non_full = "deny"\n'}

    def setUp(self):
        pass

    def test_NothingIsGivenOutThatCannotBeWrittenDown_UntilItCan(self):
        self.enrolled()
        self.token()
        audit = f"{self.stack.state}/audit"
        self.stack.stop("smartkeyd")
        disk = SmallDisk(audit, SERVICE, megabytes=1)
        self.addCleanup(disk.close)
        self.stack.start_daemon()
        self.token()
        disk.fill()

        def denied():
            self.stack.ctl(ALICE, "token", "no-such")  # something to write down
            self.stack.ctl(ALICE, "edit", SERVER, "--label", str(time.monotonic()))
            result = self.stack.ctl(ALICE, "token", SERVER)
            return result if result.code != 0 else None
        # The last block of the file still takes some lines.
        refused = wait_for(denied, "a full disk to be noticed", patience=600)
        self.assert_refused(refused, 4, "audit log")
        self.assertIn("NOT WRITTEN", self.stack.ctl("root", "status").out)
        self.assertEqual(len(self.registrations()), 1)  # looking needs no line
        disk.free()
        wait_for(lambda: self.stack.ctl(ALICE, "token", SERVER).code == 0, "the log to be written again")


if __name__ == "__main__":
    import unittest
    unittest.main()
