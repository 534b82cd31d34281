# SPDX-License-Identifier: Apache-2.0
"""The TPM under a running daemon: cleared, swapped, gone, reset, made ready by its administrator."""

import os
import subprocess
import unittest

from stack import ALICE, BOB, SERVER, wait_for
from story import StackTest


class TpmTest(StackTest):
    def tools(self, program, *args, ok=True):
        """What another program, or the machine's administrator, does to the TPM."""
        result = subprocess.run([program, *args], capture_output=True, text=True, check=False,
                                env={"PATH": "/usr/bin:/bin", "TPM2TOOLS_TCTI": self.stack.hardware.tcti})
        if ok:
            self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def persistent(self):
        return self.tools("tpm2_getcap", "handles-persistent").split("- ")[1:]

    def status(self):
        result = self.stack.ctl("root", "--json", "status")
        self.assertEqual(result.code, 0, str(result))
        return result.json()["hardware"]

    def shown(self, registration):
        result = self.stack.ctl(ALICE, "--json", "show", registration["id"])
        self.assertEqual(result.code, 0, str(result))
        return result.json()["registration"]

    def await_state(self, *states):
        wait_for(lambda: self.status()["state"] in states, f"the hardware to be {' or '.join(states)}", patience=90)

    def restart(self, meanwhile=lambda: None):
        self.stack.stop("smartkeyd")
        meanwhile()
        self.stack.start_daemon()


class LostKeys(TpmTest):
    def assert_lost(self, registration, reason):
        """Said to be lost for that reason, kept all the same, and nothing made in its place."""
        key = registration["generation"]["key"]["thumbprint"]
        registered = len(self.stack.requests("/register"))
        result = self.stack.ctl(ALICE, "--json", "token", SERVER)
        self.assertEqual(result.code, 4, str(result))
        self.assertEqual(result.json()["error"]["reason"], reason)
        for _ in range(2):  # it stays so over a restart
            shown = self.shown(registration)
            self.assertEqual((shown["state"], shown["cause"]["reason"]), ("KEY_LOST", reason))
            self.assertEqual(shown["generation"]["key"]["thumbprint"], key)
            self.restart()
        self.assertEqual(self.status()["state"], "READY", "the TPM itself is in order")
        self.assertEqual(len(self.stack.requests("/register")), registered)
        self.assertEqual(self.persistent(), [])

    def assert_renewed(self, registration):
        """The way out that people are told: a login, and another key."""
        result = self.stack.enroll(ALICE, command="renew")
        self.assertEqual(result.code, 0, str(result))
        shown = self.shown(registration)
        self.assertEqual((shown["state"], shown["generation"]["number"]), ("ACTIVE", 2))
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")

    def test_ClearedWhileTheDaemonIsStopped_IsSaidAndMendedByARenewal(self):
        registration = self.enrolled()
        self.restart(lambda: self.tools("tpm2_clear", "-c", "lockout"))
        self.assert_lost(registration, "KEY_LOST_TPM_CLEARED")
        self.assert_renewed(registration)

    def test_ClearedUnderTheRunningDaemon_IsSaidAndOthersAreMade(self):
        self.stack.switches(access_token_ttl=1)
        registration = self.enrolled()
        self.tools("tpm2_clear", "-c", "lockout")
        wait_for(lambda: self.stack.ctl(ALICE, "token", SERVER).code == 4, "the loss to be noticed")
        self.assert_lost(registration, "KEY_LOST_TPM_CLEARED")
        self.assertEqual(self.stack.enroll(ALICE, "--name", "another").code, 0)
        self.assertEqual(self.stack.ctl(ALICE, "token", "another").code, 0)

    def test_AnotherMachinesTpm_IsSaidAndMendedByARenewal(self):
        registration = self.enrolled()
        self.restart(self.stack.hardware.replace)
        self.assert_lost(registration, "KEY_LOST_OTHER_MACHINE")
        self.assert_renewed(registration)


class Recovery(TpmTest):
    def test_TpmThatGoesAndComes_IsTakenUpByItselfAndCachedTokensGoOn(self):
        self.enrolled()
        token = self.token()
        self.stack.hardware.stop()
        wait_for(lambda: self.stack.ctl(ALICE, "assertion", SERVER).code != 0, "the TPM to be missed")
        self.await_state("ABSENT", "DEGRADED")
        said = self.status()
        self.assertRegex(said["cause"]["reason"], "^HARDWARE_")
        self.assertIn("next_attempt_at", said)
        everybody = self.stack.ctl(ALICE, "--json", "version").json()["hardware"]
        self.assertIn(everybody["state"], ("ABSENT", "DEGRADED"))
        self.assertEqual(self.token(), token)
        self.assertEqual([r["state"] for r in self.registrations()], ["KEY_UNAVAILABLE"])
        self.stack.hardware.start()
        self.await_state("READY")
        self.assertEqual([r["state"] for r in self.registrations()], ["ACTIVE"])
        self.assertEqual(self.stack.ctl(ALICE, "assertion", SERVER).code, 0)
        self.assertEqual(self.stack.ctl(ALICE, "--json", "version").json()["hardware"]["state"], "READY")

    def test_TpmThatIsLate_IsTakenUpByItself(self):
        self.enrolled()
        self.restart(self.stack.hardware.stop)
        self.await_state("ABSENT")
        self.stack.hardware.start()
        self.await_state("READY")
        self.assertEqual(self.stack.ctl(ALICE, "assertion", SERVER).code, 0)

    def test_TpmThatWasReset_SignsTheNextTimeWithTheSameKey(self):
        registration = self.enrolled()
        for _ in range(3):
            self.stack.hardware.reboot()
            wait_for(lambda: self.stack.ctl(ALICE, "assertion", SERVER).code == 0, "the key to be loaded again")
        self.assertEqual(self.shown(registration)["generation"]["number"], 1)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")

    def test_StatusSaysWhatTheTpmIs(self):
        said = self.status()
        self.assertRegex(said["detail"], r"firmware [\d.]+, by swtpm, parent transient with name 000b[0-9a-f]+\.\., "
                                         r"\d+ of \d+ failures to lockout")
        self.assertEqual(set(said["algorithms"]), {"ES256", "ES384", "RS256", "RS384"})
        self.assertIn("firmware", self.stack.ctl("root", "status").out)


class Provisioning(TpmTest):
    def setUp(self):
        super().setUp()
        self.assertEqual(self.persistent(), [], "nothing but 'tpm provision' makes anything persistent")

    def password_file(self, password):
        path = os.path.join(self.stack.dir, "owner-password")
        with open(path, "w", encoding="utf-8") as file:
            file.write(password + "\n")
        self.addCleanup(os.unlink, path)
        return path

    def remove_parent(self):
        self.tools("tpm2_evictcontrol", "-c", "0x81000001")

    def test_TheParentIsMadePersistentOnceAndKeysGoOn(self):
        self.enrolled()
        self.addCleanup(self.remove_parent)
        first = self.stack.ctl("root", "--json", "tpm", "provision")
        self.assertEqual(first.code, 0, str(first))
        self.assertEqual((first.json()["handle"], first.json()["already_there"]), ("0x81000001", False))
        self.assertEqual([handle.strip() for handle in self.persistent()], ["0x81000001"])
        again = self.stack.ctl("root", "tpm", "provision")
        self.assertEqual(again.code, 0, str(again))
        self.assertIn("there already", again.out)
        self.assertIn(first.json()["name"], again.out)
        self.await_state("READY")
        self.assertIn("parent persistent 0x81000001", self.status()["detail"])
        self.assertEqual(self.stack.ctl(ALICE, "assertion", SERVER).code, 0, "the key made before")
        self.assertEqual(self.stack.enroll(ALICE, "--name", "under-the-persistent-one").code, 0)
        self.restart(self.stack.hardware.reboot)
        for name in (SERVER, "under-the-persistent-one"):
            self.assertEqual(self.stack.ctl(ALICE, "assertion", name).code, 0, name)

    def test_OwnerHierarchyHasAPassword_TheHardwareWaitsForTheAdministrator(self):
        self.tools("tpm2_changeauth", "-c", "owner", "hunter2")
        self.addCleanup(lambda: self.tools("tpm2_changeauth", "-c", "owner", "-p", "hunter2"))
        self.addCleanup(lambda: self.tools("tpm2_evictcontrol", "-P", "hunter2", "-c", "0x81000001", ok=False))
        self.restart()
        self.assertEqual(self.status()["cause"]["reason"], "TPM_OWNER_AUTH_REQUIRED")
        self.assert_refused(self.stack.enroll(), 4, "tpm provision")
        self.assert_refused(self.stack.ctl("root", "tpm", "provision"), 4, "tpm provision")
        wrong = self.stack.ctl("root", "tpm", "provision", "--owner-password-file", self.password_file("hunter3"))
        self.assert_refused(wrong, 4, "tpm provision")
        self.assertEqual(self.persistent(), [])
        right = self.stack.ctl("root", "tpm", "provision", "--owner-password-file", "-", stdin="hunter2\n")
        self.assertEqual(right.code, 0, str(right))
        self.await_state("READY")
        self.enrolled()
        self.assertNotIn("hunter", self.stack.read_log())
        self.assertNotIn(b"hunter", self.state_bytes())

    def test_OnlyAdministratorsProvision(self):
        for user in (ALICE, BOB):
            refused = self.stack.ctl(user, "tpm", "provision")
            self.assertNotEqual(refused.code, 0, str(refused))
        refused = self.stack.ctl("root", "--public", "tpm", "provision")
        self.assertNotEqual(refused.code, 0, str(refused))
        self.assertEqual(self.persistent(), [])


del TpmTest

if __name__ == "__main__":
    unittest.main()
