# SPDX-License-Identifier: Apache-2.0
"""Items 56 and 57 of docs/conformance.md: tokens are where they belong and nowhere else, and what the hardware's absence
does and does not stop."""

import glob
import os
import signal
import subprocess
import unittest

from conformance import ALICE, SERVER, ConformanceTest
from memory import places_in_memory, regions
from stack import BOB, SERVICE, Stack, wait_for

SHORT = '"12"'  # seconds that a token lives, as the server writes them
LABEL = "Grandmother Rose"


def pieces_of(token):
    """Three of it, so that one that was cut in two is found as well."""
    third = len(token) // 3
    return [token[i * third:(i + 1) * third].encode() for i in range(3)]


class Hygiene(ConformanceTest):
    def assert_in_no_memory(self, token, in_core=False):
        if self.stack.sanitized():
            return  # what is freed is kept
        pid = self.stack.daemon_pid()
        left = []

        def gone():
            left[:] = [place for piece in pieces_of(token) for place in places_in_memory(pid, piece, in_core)]
            return not left
        wait_for(gone, f"the token's memory to be wiped: {left}", patience=60)

    def test_item_56_ATokenOfADeletedRegistration_IsInNoMemoryAnyMore(self):
        self.enrolled()
        token = self.token()
        if not self.stack.sanitized():
            self.assertTrue(all(places_in_memory(self.stack.daemon_pid(), piece) for piece in pieces_of(token)))
        self.assertEqual(self.stack.ctl(ALICE, "delete", SERVER, "--yes").code, 0)
        self.assert_in_no_memory(token)

    def test_item_56_ATokenThatExpired_IsInNoMemoryAnyMore(self):
        self.enrolled()
        first = self.token()
        self.stack.switches(token_answer={"value": "expires_in", "raw": SHORT})
        self.stack.ctl(ALICE, "report-rejected", SERVER, stdin=first)
        token = self.token()
        # And is replaced by none.
        self.stack.switches(token_answer=None, token_error="invalid_grant")
        wait_for(lambda: self.stack.ctl(ALICE, "token", SERVER).code != 0, "it to expire")
        self.assert_in_no_memory(token)

    def test_item_56_CanariesAreInNothingThatIsWrittenOrShown(self):
        registration = self.enrolled("--label", LABEL, "--name", "rose")
        token = self.token("rose")
        assertion = self.stack.ctl(ALICE, "assertion", "rose").out.strip()
        self.stack.ctl(ALICE, "share", "rose", f"user:{BOB}")
        bobs = self.stack.ctl(BOB, "token", "rose")
        errors = [self.stack.ctl(BOB, "delete", "rose", "--yes"), self.stack.ctl(BOB, "token", "grandma"),
                  self.stack.ctl(BOB, "token", "rose", "--scope", "system/*.cruds"),
                  self.stack.ctl("root", "token", f"{ALICE}/rose")]
        for wrong in ("invalid_grant", "invalid_client", "unauthorized_client"):
            self.stack.switches(token_error=wrong)
            errors.append(self.stack.ctl(ALICE, "token", "rose", "--min-valid", "23h"))
        self.stack.switches(token_error=None)
        shown = {"log": self.stack.read_log(), "metrics": self.stack.ctl("root", "metrics").out,
                 "audit": self.stack.ctl("root", "--json", "audit", "--all").out,
                 "doctor": self.stack.ctl("root", "doctor").out, "status": self.stack.ctl("root", "--json", "status").out,
                 "report": self.stack.ctl("root", "report", "--output", "-").out,
                 "errors": "".join(error.err for error in errors)}
        for file in glob.glob(f"{self.stack.state}/audit/*"):
            with open(file, encoding="utf-8") as written:
                shown[file] = written.read()
        pid = self.stack.daemon_pid()
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
                shown[name] = file.read()
        self.assertEqual(bobs.out.strip(), token)
        self.assertIn(registration["id"], shown["audit"])
        secrets = {*(piece.decode() for piece in pieces_of(token)), *assertion.split("."), LABEL, "Rose", "pat-1"}
        for place, text in shown.items():
            for secret in secrets:
                self.assertFalse(secret in text, f"{secret[:12]}.. is in {place}")

    def test_item_56_ATokenThatIsCached_WouldBeInNoCoreFile(self):
        self.enrolled()
        token = self.token()
        self.assert_in_no_memory(token, in_core=True)
        self.assertEqual(self.token(), token)

    def test_item_56_ACrashLeavesNoCoreFile(self):
        self.enrolled()
        self.token()
        process = self.stack.processes.pop("smartkeyd")
        os.kill(process.pid, signal.SIGSEGV)
        _, status = os.waitpid(process.pid, 0)
        process.returncode = -signal.SIGSEGV
        self.assertFalse(os.WCOREDUMP(status))
        self.stack.start_daemon()


class HiddenMemory(ConformanceTest):
    def test_item_56_AnotherProcessOfItsUser_MayNotLookIntoItsMemory(self):
        if self.stack.sanitized():
            return  # LeakSanitizer has to look into its own
        pid = self.stack.daemon_pid()
        with open(f"/proc/{pid}/status", encoding="utf-8") as file:
            uids = next(line for line in file if line.startswith("Uid:")).split()[1:]
        self.assertNotIn("0", uids)
        # The kernel gives what is in /proc of a process to root where it is not dumpable (proc(5)).
        for name in ("mem", "maps", "environ", "fd"):
            self.assertEqual(os.stat(f"/proc/{pid}/{name}").st_uid, 0, name)
        other = self.spawn_sleeper()
        for whose, may in ((other.pid, True), (pid, False)):
            for name in ("mem", "environ", "maps"):
                looking = self.stack.spawn(SERVICE, ["head", "-c0", f"/proc/{whose}/{name}"],
                                           stderr=subprocess.DEVNULL)
                self.assertEqual(looking.wait(30) == 0, may, f"{name} of {whose}, where {pid} is smartkeyd")

    def spawn_sleeper(self):
        """Another process of the same user, that hides nothing: what may be looked into."""
        sleeper = self.stack.spawn(SERVICE, ["sleep", "infinity"])
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        wait_for(lambda: os.readlink(f"/proc/{sleeper.pid}/exe").endswith("sleep"), "it to run")
        return sleeper

    def test_item_56_ItsLimitsAllowNoCoreFile(self):
        with open(f"/proc/{self.stack.daemon_pid()}/limits", encoding="ascii") as file:
            line = next(line for line in file if line.startswith("Max core file size"))
        self.assertEqual(line.split()[4:6], ["0", "0"])


class MayLockMemory(Stack):
    """As the unit does with LimitMEMLOCK=: more than most users may."""

    def spawn(self, user, args, **options):
        if args[0] != os.path.join(self.bin, "smartkeyd"):
            return super().spawn(user, args, **options)
        entry = self.account(user)
        return super().spawn("root", ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups",
                                      "--inh-caps=+ipc_lock", "--ambient-caps=+ipc_lock", *args], **options)


class LockedMemory(ConformanceTest):
    @classmethod
    def make_stack(cls):
        return MayLockMemory()

    def flags_of(self, token):
        """{kind of mapping: its flags} of all that the token stands in."""
        pid = self.stack.daemon_pid()
        places = {place.split()[-1].rpartition("+")[0] for piece in pieces_of(token)
                  for place in places_in_memory(pid, piece)}
        found = {}
        for region, _, name, flags in regions(pid):
            if region in places:
                found.setdefault("kept" if "memfd:" in name else "heap", []).append(set(flags))
        return found

    def test_item_56_ATokenThatIsCached_IsInMemoryThatIsNeverSwappedOutOrDumped(self):
        self.assertNotIn("cannot be locked", self.stack.read_log())
        self.enrolled()
        token = self.token()
        if self.stack.sanitized():
            return  # what is freed is kept

        def settled():
            """Once the buffers in which it came and went are wiped."""
            found = self.flags_of(token)
            # That of Secrets (daemon/app/secret_heap.h), and what a restart finds again (daemon/token/token_region.h).
            locked = all({"lo", "dd"} <= flags for each in found.values() for flags in each)
            return locked and set(found) == {"heap", "kept"}
        wait_for(settled, "the token to be in locked memory, and nowhere else")
        self.assertEqual(self.token(), token)


class HardwareIsAway(ConformanceTest):
    def test_item_57_TheTpmIsAway_IsToldCachedTokensGoOnAndItRecoversByItself(self):
        self.enrolled()
        token = self.token()
        self.stack.hardware.stop()
        self.assertEqual(self.token(), token)
        self.stack.ctl(ALICE, "report-rejected", SERVER, stdin=token)
        refused = self.stack.ctl(ALICE, "--json", "token", SERVER)
        error = self.error_of(refused)
        self.assertIn(error["reason"], ("HARDWARE_ABSENT", "HARDWARE_DEGRADED", "KEY_UNAVAILABLE"))
        self.assertNotEqual(error["user_action"], "RENEW")
        self.assertIn(self.registrations()[0]["state"], ("ACTIVE", "KEY_UNAVAILABLE"))
        status = self.stack.ctl("root", "--json", "status").json()
        self.assertNotEqual(status["hardware"]["state"], "READY")
        self.stack.hardware.start()
        wait_for(lambda: self.stack.ctl(ALICE, "token", SERVER).code == 0, "the TPM to be found again")
        self.assertEqual(self.registrations()[0]["state"], "ACTIVE")

    def test_item_57_TheTpmIsAwayWhileOneWouldEnroll_NobodyLogsInForNothing(self):
        self.stack.hardware.stop()
        refused = self.stack.ctl(ALICE, "--json", "enroll", SERVER, "--no-browser")
        self.assertIn(self.error_of(refused)["reason"], ("HARDWARE_ABSENT", "HARDWARE_DEGRADED"))
        self.assertEqual(self.registrations(), [])
        self.stack.hardware.start()
        wait_for(lambda: self.stack.ctl("root", "--json", "status").json()["hardware"]["state"] == "READY",
                 "the TPM to be found again")
        self.enrolled()


if __name__ == "__main__":
    unittest.main()
