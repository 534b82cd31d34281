# SPDX-License-Identifier: Apache-2.0
"""The main job with the key in a PKCS#11 token: SoftHSM2, its module in a process of its own."""

import itertools
import os
import re
import threading
import unittest

from hardware import PIN, Token
from stack import ALICE, SERVER, Stack, wait_for
from story import StackTest


class Pkcs11(StackTest):
    @classmethod
    def make_stack(cls):
        return Stack(hardware=Token)

    def status(self):
        result = self.stack.ctl("root", "--json", "status")
        self.assertEqual(result.code, 0, str(result))
        return result.json()

    def test_EnrollingGivesATokenAndAKeyThatNobodyCanTakeOut(self):
        self.enrolled()
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")
        key = self.stack.ctl(ALICE, "--json", "keys").json()["keys"][0]
        self.assertEqual(key["provider"], "PKCS11")
        for name, value in {"CKA_SENSITIVE": True, "CKA_EXTRACTABLE": False, "CKA_ALWAYS_SENSITIVE": True,
                            "CKA_NEVER_EXTRACTABLE": True, "CKA_LOCAL": True, "CKA_SIGN": True,
                            "CKA_DECRYPT": False}.items():
            self.assertIs(key["attributes"][name], value, name)
        _, words = self.stack.hardware.view_of_key(None)
        self.assertLessEqual({"sensitive", "always sensitive", "never extractable", "local"}, words)
        self.assertNotIn("extractable", words)

    def test_TheModuleIsNotInTheDaemonsMemoryAndIsStartedAnewWhenKilled(self):
        self.enrolled()
        daemon = self.stack.processes["smartkeyd"].pid
        with open(f"/proc/{daemon}/maps", encoding="utf-8") as file:
            self.assertNotIn("softhsm", file.read())
        first = self.stack.hardware.kill_module()
        self.assertIsNotNone(first)
        wait_for(lambda: self.stack.ctl(ALICE, "assertion", SERVER).code == 0, "the key to be usable again")
        self.assertNotIn(self.stack.hardware.module_pid(), (None, first))

    def test_ModuleKilledAHundredTimesUnderLoad_NothingIsLost(self):
        names = [f"reg-{n}" for n in range(10)]  # as many, since each may sign only so often
        for name in names:
            self.enrolled("--name", name)
        ids = {r["id"] for r in self.registrations()}
        daemon = self.stack.processes["smartkeyd"]
        stop, signed, wrong = threading.Event(), [], []

        def ask():
            for name in itertools.cycle(names):
                if stop.is_set():
                    return
                result = self.stack.ctl(ALICE, "--json", "assertion", name)
                if result.code == 0:
                    signed.append(name)
                # Nothing else than this may be in the way.
                elif not re.search("HARDWARE_(BUSY|ABSENT|DEGRADED)|RATE_LIMITED", result.out + result.err):
                    wrong.append(str(result))

        callers = [threading.Thread(target=ask) for _ in range(3)]
        for caller in callers:
            caller.start()
        try:
            for kills in range(100):
                # Some are killed when they have just begun, most when they have served.
                before = len(signed) - (kills % 5 == 0)
                wait_for(lambda: len(signed) > before and self.stack.hardware.module_pid(), "the module to serve")
                self.stack.hardware.kill_module()
        finally:
            stop.set()
            for caller in callers:
                caller.join()
        self.assertEqual(wrong, [])
        self.assertGreater(len(signed), 50)
        self.assertIsNone(daemon.poll())
        self.assertEqual({r["id"]: r["state"] for r in self.registrations()}, dict.fromkeys(ids, "ACTIVE"))
        objects = self.stack.hardware.objects()
        self.assertEqual({i: objects.count(f":{i}:1") for i in ids}, dict.fromkeys(ids, 2))  # both halves
        self.assertEqual(len(self.stack.requests("/register")), len(names))
        for name in names:
            wait_for(lambda: self.stack.ctl(ALICE, "assertion", name).code == 0, "the key to be usable")

    def test_KilledDaemonLeavesNoModuleBehindAndServesWithTheSameKey(self):
        self.enrolled()
        module = self.stack.hardware.module_pid()
        self.stack.kill_daemon()
        wait_for(lambda: not os.path.exists(f"/proc/{module}"), "the module's process to end")
        self.stack.start_daemon()
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")
        self.assertEqual(len(self.stack.requests("/register")), 1)

    def test_DeletingDestroysTheKeyInTheToken(self):
        registration = self.enrolled()
        self.assertIn(f":{registration['id']}:1", self.stack.hardware.objects())
        result = self.stack.ctl(ALICE, "delete", registration["id"], "--yes")
        self.assertEqual(result.code, 0, str(result))
        self.assertNotIn(registration["id"], self.stack.hardware.objects())

    def test_item_58_KeyDeletedBehindOurBackIsLostAndOthersGoOn(self):
        first = self.enrolled("--name", "one")
        self.assertEqual(self.stack.enroll(ALICE, "--name", "two").code, 0)
        self.stack.hardware.delete_key(f":{first['id']}:1")
        self.stack.kill_daemon()  # nothing cached
        self.stack.start_daemon()
        self.assert_refused(self.stack.ctl(ALICE, "token", "one"), 4, "key")
        self.assertEqual(self.stack.ctl(ALICE, "token", "two").code, 0)
        states = {r["name"]: r["state"] for r in self.registrations()}
        self.assertEqual(states, {"one": "KEY_LOST", "two": "ACTIVE"})

    def test_StrayKeyIsShownToTheAdministratorAndLeftAlone(self):
        registration = self.enrolled()
        instance = self.stack.ctl("root", "--json", "keys", "--all").json()["stored"]["keys"][0]["label"].split(":")[1]
        stray = f"smartkeyd:{instance}:gone:1"
        self.stack.hardware.make_key(stray, "01")
        self.stack.hardware.make_key("smartkeyd:somebody-else:reg:1", "02")
        self.addCleanup(self.stack.hardware.delete_key, stray)
        self.addCleanup(self.stack.hardware.delete_key, "smartkeyd:somebody-else:reg:1")
        stored = self.stack.ctl("root", "--json", "keys", "--all").json()["stored"]
        self.assertEqual({key["label"]: key["stray"] for key in stored["keys"]},
                         {stray: True, f"smartkeyd:{instance}:{registration['id']}:1": False})
        self.assertEqual(stored["of_other_instances"], 1)
        self.assertIn(stray, self.stack.ctl("root", "keys", "--all").out)
        self.stack.kill_daemon()
        self.stack.start_daemon()
        wait_for(lambda: "that nothing needs" in self.stack.read_log(), "the stray key to be reported")
        self.assertIn(stray, self.stack.hardware.objects())

    def test_StrayKeyIsRemovedByItsIdAndNeededKeysAreNot(self):
        registration = self.enrolled()
        stored = self.stack.ctl("root", "--json", "keys", "--all").json()["stored"]["keys"]
        instance, needed = stored[0]["label"].split(":")[1], stored[0]["id"]
        for number in ("0a", "0b"):
            label = f"smartkeyd:{instance}:gone:{number}"
            self.stack.hardware.make_key(label, number)
        neighbour = "smartkeyd:somebody-else:reg:1"
        self.stack.hardware.make_key(neighbour, "02")
        self.addCleanup(self.stack.hardware.delete_key, neighbour)
        self.assert_refused(self.stack.ctl("root", "keys", "--remove-stray", needed, "--yes"), 2, "no stray key")
        self.assert_refused(self.stack.ctl("root", "keys", "--remove-stray", "02", "--yes"), 2, "no stray key")
        self.assert_refused(self.stack.ctl("root", "keys", "--remove-stray", "0a"), 2, "--yes")
        self.assertIn("gone:0a", self.stack.hardware.objects())
        result = self.stack.ctl("root", "keys", "--remove-stray", "0a", "--yes")
        self.assertEqual((result.code, result.out), (0, f"Removed smartkeyd:{instance}:gone:0a\n"), str(result))
        self.assertNotIn("gone:0a", self.stack.hardware.objects())
        self.assertIn("gone:0b", self.stack.hardware.objects())
        self.assertEqual(self.stack.ctl("root", "keys", "--remove-stray", "all", "--yes").code, 0)
        objects = self.stack.hardware.objects()
        self.assertNotIn("gone:0b", objects)
        self.assertIn(neighbour, objects)
        self.assertIn(f":{registration['id']}:1", objects)

    def test_WrongPinIsTriedOnceAndNeverAgainUntilItChanges(self):
        self.enrolled()
        self.stack.stop("smartkeyd")
        self.stack.hardware.write_pin("31415926")
        try:
            for _ in range(3):
                self.stack.start_daemon()
                wait_for(lambda: self.status()["hardware"].get("cause", {}).get("reason") == "PIN_REJECTED",
                         "the PIN to be rejected")
                self.assert_refused(self.stack.ctl(ALICE, "assertion", SERVER), 4, "pin")
                self.stack.kill_daemon()
            self.assertNotIn("31415926", self.stack.read_log())
            self.assertIn("tried again", self.stack.read_log())
        finally:
            self.stack.hardware.write_pin(PIN)
            self.stack.start_daemon()
        wait_for(lambda: self.stack.ctl(ALICE, "assertion", SERVER).code == 0, "the right PIN to be taken")

    def test_TokenThatIsGoneIsNamedAndTakenUpAgainWhenItIsBack(self):
        self.enrolled()
        token = self.token()
        self.stack.hardware.stop()
        try:
            wait_for(lambda: self.stack.ctl(ALICE, "assertion", SERVER).code != 0, "the token to be missed")
            self.assertEqual(self.token(), token, "cached tokens go on")
            status = self.stack.ctl("root", "status").out
            self.assertRegex(status, "ABSENT|DEGRADED")
            keys = self.stack.ctl("root", "--json", "keys", "--all")
            self.assertEqual(keys.code, 0, str(keys))
            self.assertEqual(len(keys.json()["keys"]), 1)  # one document, though the token cannot be asked
            self.assertRegex(keys.json()["stored_error"]["reason"], "HARDWARE_(ABSENT|DEGRADED|BUSY)")
            told = self.stack.ctl("root", "keys", "--all")
            self.assertIn("What the hardware stores is not known", told.err)
            self.assertIn("Thumbprint", told.out)
        finally:
            self.stack.hardware.plug_in()
        wait_for(lambda: self.stack.ctl(ALICE, "assertion", SERVER).code == 0, "the token to be taken up", patience=120)

    def test_NoPinIsInLogsFilesOrEnvironment(self):
        self.enrolled()
        daemon = self.stack.processes["smartkeyd"].pid
        for pid in (daemon, self.stack.hardware.module_pid()):
            for name in ("environ", "cmdline"):
                with open(f"/proc/{pid}/{name}", "rb") as file:
                    self.assertNotIn(PIN.encode(), file.read())
        self.assertNotIn(PIN, self.stack.read_log())
        self.assertNotIn(PIN.encode(), self.state_bytes())

    def test_StatusNamesTheHardware(self):
        status = self.stack.ctl("root", "status").out
        self.assertRegex(status, "READY, PKCS11, SoftHSM")


if __name__ == "__main__":
    unittest.main()
