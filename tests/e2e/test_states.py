# SPDX-License-Identifier: Apache-2.0
"""What a registration is shown as, and what it gives, when its server, its hardware or its patient changes."""

import os
import pty
import re
import signal
import subprocess
import unittest

from life import HOUR, LifeTest, without_server
from stack import ALICE, SERVER, wait_for
from watching import Watching

OTHER_SCOPE = ("--scope", "patient/*.rs")


class ServerChanges(LifeTest):
    def tearDown(self):
        self.restart()

    def test_RemovedItGivesNothingAndLosesNothing(self):
        before = self.enrolled("--label", "Mum's chart")
        token = self.token()
        self.restart(without_server)
        for command in (("token", SERVER), ("assertion", SERVER)):
            self.assert_refused(self.stack.ctl(ALICE, *command), 4, "no longer configured", "administrator")
        shown = self.show()
        self.assertEqual(shown["cause"]["reason"], "SERVER_REMOVED")
        self.assertEqual(shown["state_words"], "needs the administrator")
        self.assertEqual(shown["user_action"], "ASK_ADMINISTRATOR")
        self.assertEqual(shown["state"], "ACTIVE")
        servers = self.stack.ctl("root", "--json", "status").json()["servers"]
        self.assertEqual([(s["name"], s["state"], s["registrations"]) for s in servers], [(SERVER, "REMOVED", 1)])
        renewed = self.stack.enroll(ALICE, command="renew")
        self.assertNotEqual(renewed.code, 0)

        self.restart()
        after = self.show()
        self.assertEqual((after["id"], after["label"], after["state"]), (before["id"], "Mum's chart", "ACTIVE"))
        self.assertNotIn("cause", after)
        self.assertNotEqual(self.token(), "")
        self.assertNotEqual(token, "")

    def test_RenamedItGoesOnUnderTodaysName(self):
        before = self.enrolled()
        self.restart(lambda text: text.replace(f'name = "{SERVER}"', 'name = "mercy-hospital"'))
        shown = self.show()
        self.assertEqual((shown["id"], shown["name"], shown["server"]), (before["id"], SERVER, "mercy-hospital"))
        self.assertNotIn("cause", shown)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")
        # Renewing by the registration's own name, which nobody changed.
        renewed = self.stack.enroll(ALICE, command="renew")
        self.assertEqual(renewed.code, 0, f"{renewed}\n{self.stack.read_log()}")
        self.assertEqual(self.show()["generation"]["number"], 2)

    def test_ItsClientIdChangedTheRegistrationHasItsOwn(self):
        self.enrolled()
        other = lambda text: text.replace('client_id = "growth-chart"\nsoftware_id = "growth-chart-software"',
                                          'client_id = "viewer"\nsoftware_id = "viewer-software"')
        self.restart(other)
        self.token()
        renewed = self.stack.enroll(ALICE, command="renew")
        self.assertEqual(renewed.code, 0, f"{renewed}\n{self.stack.read_log()}")
        self.assertEqual(self.stack.requests("/register")[-1]["software_id"], "viewer-software")
        self.token()

    def test_ItsAppIsNoLongerInstalledTokensGoOn(self):
        self.enrolled()
        self.restart(lambda text: re.sub(r"\[\[app\]\].*?(?=\n\[\[server)", "", text, flags=re.DOTALL))
        self.token()


class HardwareChanges(LifeTest):
    def tearDown(self):
        self.restart()

    def test_WithoutItsHardwareTheKeyIsUnavailableAndComesBack(self):
        self.enrolled()
        self.restart(lambda text: re.sub(r"\[key_provider\].*?(?=\n\[)",
                                         '[key_provider]\ntype = "tpm"\ntcti = "swtpm:path=/nonexistent/socket"\n',
                                         text, flags=re.DOTALL))
        wait_for(lambda: self.state() == "KEY_UNAVAILABLE", "the missing hardware to be noticed")
        shown = self.show()
        self.assertEqual(shown["state_words"], "needs the administrator")
        self.assertEqual(shown["user_action"], "ASK_ADMINISTRATOR")
        status = self.stack.ctl("root", "--json", "status").json()
        self.assertEqual(status["registrations"], {"KEY_UNAVAILABLE": 1})
        self.restart()
        wait_for(lambda: self.state() == "ACTIVE", "the hardware to be back")
        self.token()

    def test_ThoseWhoWatchAreToldThatTheHardwareWentAndCame(self):
        self.enrolled()
        with Watching(self.stack) as watching:
            watching.wait_for_event("SYNCED")

            def wait_for_state(state):
                watching.wait_for(state, lambda event: event.get("registration", {}).get("state") == state)
            self.stack.hardware.stop()
            self.assertNotEqual(self.ask(*OTHER_SCOPE).code, 0)  # the first to notice
            wait_for_state("KEY_UNAVAILABLE")
            self.stack.hardware.start()
            wait_for_state("ACTIVE")


class Refusing(LifeTest):
    def test_AServerThatRefusesAllBlamesNobody(self):
        self.enrolled("--name", "mum")
        self.assertEqual(self.stack.enroll(ALICE, "--name", "kid", patient="pat-2").code, 0)
        self.stack.switches(token_error={"error": "invalid_grant"})
        self.assert_refused(self.ask(*OTHER_SCOPE, registration="mum"), 5, "if you removed this app")
        self.assert_refused(self.ask(*OTHER_SCOPE, registration="kid"), 5, "refuses others too", "next try", "renew")
        servers = self.stack.ctl("root", "--json", "status").json()["servers"]
        self.assertEqual([s["state"] for s in servers], ["REFUSING_ALL"])
        self.assertTrue(self.stack.ctl(ALICE, "--json", "servers").json()["servers"][0]["refusing_all"])
        self.assertIn("REFUSING_ALL", self.stack.ctl(ALICE, "servers").out)
        for _ in range(7):
            self.let_time_pass(5 * HOUR)
            for name in ("mum", "kid"):
                self.ask(registration=name)
        for name in ("mum", "kid"):
            shown = self.show(name)
            self.assertEqual((shown["state"], shown["cause"]["reason"]), ("SUSPECT", "SERVER_REFUSING_ALL"))
        # It comes back for one; the other one has been refused for long, and is alone with it.
        self.stack.control("switches", {"token_error": None})
        self.stack.control("revoke", {"client_id": self.client_id("kid")})
        self.let_time_pass(5 * HOUR)
        self.token("mum")
        self.let_time_pass(5 * HOUR)
        self.assert_refused(self.ask(registration="kid"), 4, "renew")
        self.assertEqual([self.state("mum"), self.state("kid")], ["ACTIVE", "REAUTH_REQUIRED"])
        self.assertFalse(self.stack.ctl(ALICE, "--json", "servers").json()["servers"][0]["refusing_all"])

    def test_AYoungerOneMayBeWhy(self):
        old = self.enrolled("--name", "old")
        second = self.stack.enroll(ALICE, "--name", "young")
        self.assertEqual(second.code, 0, str(second))
        self.assertIn("some servers end the earlier one", second.out)
        self.assertIn("smartkeyctl renew old", second.out)
        self.stack.control("revoke", {"client_id": old["generation"]["client_id"]})
        self.assert_refused(self.ask(*OTHER_SCOPE, registration="old"), 5, "MAYBE_SUPERSEDED")
        self.assertEqual(self.show("old")["warnings"], ["MAYBE_SUPERSEDED"])
        self.assertEqual(self.show("young")["warnings"], [])
        self.assertIn("MAYBE_SUPERSEDED", self.stack.ctl(ALICE, "list").out)
        self.assertIn("younger", self.stack.ctl(ALICE, "show", "old").out)


class Renewing(LifeTest):
    def test_ForAnotherPatientIsShownToTheOwnerAloneAndTheOldOneServes(self):
        registration = self.enrolled()
        renewed = self.stack.enroll(ALICE, command="renew", patient="pat-2")
        self.assertEqual(renewed.code, 4, str(renewed))
        self.assertIn("pat-1", renewed.out)
        self.assertIn("pat-2", renewed.out)
        shown = self.show()
        self.assertEqual((shown["state"], shown["state_words"]), ("CONTEXT_CHANGED", "needs you: renew"))
        self.assertEqual((shown["patient"], shown["other_patient"]), ("pat-1", "pat-2"))
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")
        seen = self.stack.ctl("root", "--json", "show", registration["id"])
        self.assertEqual(seen.code, 0, str(seen))
        for patient in ("pat-1", "pat-2"):
            self.assertNotIn(patient, seen.out)
            self.assertNotIn(patient, self.stack.read_log())
        self.restart()
        self.assertEqual(self.state(), "CONTEXT_CHANGED")
        self.token()
        # For the right one: in order again.
        self.assertEqual(self.stack.enroll(ALICE, command="renew", patient="pat-1").code, 0)
        shown = self.show()
        self.assertEqual((shown["state"], shown["patient"]), ("ACTIVE", "pat-1"))
        self.assertNotIn("other_patient", shown)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")

    def test_ForANewPatientOnPurposePinsAnew(self):
        before = self.enrolled()
        renewed = self.stack.enroll(ALICE, "--new-patient", command="renew", patient="pat-2")
        self.assertEqual(renewed.code, 0, f"{renewed}\n{self.stack.read_log()}")
        shown = self.show()
        self.assertEqual((shown["id"], shown["state"], shown["patient"]), (before["id"], "ACTIVE", "pat-2"))
        self.assertEqual(self.stack.fhir_get("Patient/pat-2", self.token())["id"], "pat-2")
        renewed = self.stack.enroll(ALICE, command="renew", patient="pat-1")
        self.assertEqual(renewed.code, 4, str(renewed))

    def test_ALaterTokenForAnotherPatientStopsEverything(self):
        self.enrolled()
        self.stack.switches(token_answer="other_patient")
        refused = self.ask(*OTHER_SCOPE)
        self.assert_refused(refused, 4, "another patient")
        self.assertNotIn("pat-", refused.err)
        self.assert_refused(self.ask(), 4, "another patient")
        shown = self.show()
        self.assertEqual((shown["state"], shown["patient"]), ("CONTEXT_CHANGED", "pat-1"))
        self.assertNotIn(shown["other_patient"], ("", "pat-1"))

    def test_ContextVariesPinsNobody(self):
        self.enrolled("--context", "varies")
        self.assertTrue(self.show()["context_varies"])
        self.stack.switches(token_answer="other_patient")
        self.assertEqual(self.ask(*OTHER_SCOPE).code, 0)
        self.assertEqual(self.state(), "ACTIVE")


class AskingBeforeASecondOne(LifeTest):
    """smartkeyctl enroll at a terminal."""

    def converse(self, answer, *args):
        """Types `answer` at the question; gives what was said until the end, or until the URL to open."""
        master, slave = pty.openpty()
        process = self.stack.spawn(ALICE, self.stack.ctl_args(ALICE, ("enroll", SERVER, "--no-browser", *args)),
                                   stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        os.close(slave)
        said = b""
        try:
            while b"response_type=code" not in said:
                octets = os.read(process.stdout.fileno(), 4096)
                if not octets:
                    break
                said += octets
                if answer is not None and b"[r] " in said:
                    os.write(master, answer.encode() + b"\n")
                    answer = None
        finally:
            if process.poll() is None and b"response_type=code" in said:
                process.send_signal(signal.SIGINT)
            process.wait(60)
            process.stdout.close()
            os.close(master)
        return said.decode(), process.returncode

    def begun(self):
        """Records under way after the conversation: (name, number of its newest generation)."""
        return [(r["name"], (r.get("next_generation") or r["generation"])["number"]) for r in self.registrations()]

    def test_ItOffersToRenewAndDoesWhatIsAnswered(self):
        self.enrolled()
        said, code = self.converse("q")
        self.assertEqual(code, 1, said)
        self.assertIn(f"smartkeyctl renew {SERVER}", said)
        wait_for(lambda: self.begun() == [(SERVER, 1)], "the cancelled enrollment to be gone")

        registered = len(self.stack.requests("/register"))
        said, _ = self.converse("r")
        self.assertIn("response_type=code", said)
        said, _ = self.converse("s")
        self.assertIn("response_type=code", said)
        said, _ = self.converse(None, "--yes")
        self.assertIn("response_type=code", said)
        self.assertNotIn("[r]", said)
        self.assertEqual(len(self.stack.requests("/register")), registered)

    def test_WithAnInitialTokenItIsSaidAfterwards(self):
        for expected in (False, True):
            token = self.stack.initial_token()["access_token"]
            self.secrets.add(token)
            result = self.stack.ctl(ALICE, "enroll", SERVER, "--with-token-file", "-", stdin=token)
            self.assertEqual(result.code, 0, str(result))
            self.assertEqual("end the earlier one" in result.out, expected, str(result))

    def test_NobodyIsAskedWhenThereIsNoneYet(self):
        said, _ = self.converse(None)
        self.assertIn("response_type=code", said)
        self.assertNotIn("[r]", said)


if __name__ == "__main__":
    unittest.main()
