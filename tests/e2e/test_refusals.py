# SPDX-License-Identifier: Apache-2.0
"""Bad input, and servers that say no or answer badly: a clear word, the right exit code, nothing half-made."""

import json
import os
import subprocess
import unittest
import urllib.error
import urllib.request

from stack import ALICE, EHR, SERVER, wait_for
from story import StackTest


class Refusals(StackTest):
    config = {"extra": """
[[server]]
name = "closed"
fhir_base = "https://127.0.0.1:1/fhir"
"""}

    def test_UnknownServerAppAndRegistrationAreNamedWithWhatThereIs(self):
        self.assert_refused(self.stack.enroll(ALICE, server="mercy"), 1, "server", "smartkeyctl servers")
        self.assert_refused(self.stack.enroll(ALICE, "--app", "org.example.nope"), 1, "app", "smartkeyctl apps")
        self.assert_refused(self.stack.ctl(ALICE, "token", "nope"), 1, "registration")
        self.assert_nothing_left()

    def test_WrongUsageExitsWithTwo(self):
        for args in (("tokn",), ("token",), ("token", SERVER, "--min-valid", "soon"), ("enroll",), ()):
            result = self.stack.ctl(ALICE, *args)
            self.assertEqual(result.code, 2, str(result))
            self.assertTrue(result.err, str(result))

    def test_SoftwareIdRefusedByTheServer(self):
        self.stack.switches(registration_error={"error": "invalid_client_metadata", "status": 400})
        self.assert_refused(self.stack.enroll(), 4, "software_id|metadata")
        self.assert_nothing_left()

    def test_InitialTokenExpiredUsedOrWrong(self):
        expired = self.stack.initial_token(expired=True)["access_token"]
        for token in (expired, "not-a-token"):
            self.secrets.add(token)
            result = self.stack.ctl(ALICE, "enroll", SERVER, "--with-token-file", "-", stdin=token)
            self.assert_refused(result, 4, "initial")
        self.assertEqual(self.stack.ctl(ALICE, "enroll", SERVER, "--with-token-file", "-", stdin="").code in (1, 2),
                         True)
        self.assert_nothing_left()

    def test_RegistrationAnswersThatCannotBeUsed(self):
        for answer in ("no_client_id", "other_key", "wrong_software_id", "no_jwt_bearer"):
            with self.subTest(answer):
                self.stack.control("reset", {})
                self.stack.switches(registration_answer=answer)
                self.assert_refused(self.stack.enroll(), 4)
                self.assertEqual(len(self.stack.requests("/register")), 1)
                self.assert_nothing_left()

    def test_RegistrationAnswersThatAreAcceptedAllTheSame(self):
        for answer in ("epic_like", "full", "client_secret"):
            with self.subTest(answer):
                self.setUp()
                self.stack.switches(registration_answer=answer)
                self.enrolled()
                self.token()

    def test_ALostRegistrationAnswerIsTriedOnceMoreAndThenOrphaned(self):
        self.stack.switches(registration_answer="drop_after_work")
        result = self.stack.enroll()
        self.assert_refused(result, 4, "lost|orphan|may have registered")
        self.assertEqual(len(self.stack.requests("/register")), 2)
        states = [r["state"] for r in self.registrations()]
        self.assertEqual(states, ["ORPHANED"])
        self.assert_refused(self.stack.ctl(ALICE, "token", self.registrations()[0]["id"]), 4)

    def test_AnAnswerOver64KilobytesIsCutOff(self):
        self.stack.switches(registration_answer={"value": "huge"})
        result = self.stack.enroll()
        self.assertNotEqual(result.code, 0)
        self.assertNotIn("ACTIVE", [r["state"] for r in self.registrations()])

    def test_HtmlInsteadOfJsonIsSaidToBeSomebodyElsesAnswer(self):
        self.enrolled()
        self.stack.switches(access_token_ttl=1, token_answer="html")
        self.stack.kill_daemon()
        self.stack.start_daemon()
        self.assert_refused(self.stack.ctl(ALICE, "token", SERVER), 5, "HTML|page|intercept|portal")

    def test_ServerDownIsTryLater(self):
        self.assert_refused(self.stack.enroll(server="closed"), 5, "closed|127.0.0.1")
        self.assert_nothing_left()

    def test_AServerWhoseCertificateNobodyVouchesForIsNotTrustedUnlessItsCaIsConfigured(self):
        directory = os.path.join(self.stack.dir, "tls")
        os.makedirs(directory, exist_ok=True)
        key, certificate = os.path.join(directory, "key.pem"), os.path.join(directory, "cert.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=sandbox",
                        "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        os.chmod(key, 0o644)
        ready = os.path.join(self.stack.ehr_dir, "tls.json")
        server = self.stack.spawn(
            EHR, ["/usr/bin/python3", "-B", os.path.join(self.stack.ehr_code, "sandbox.py"), "--port", "0",
                  "--ready-file", ready, "--tls-cert", certificate, "--tls-key", key, "--until-stdin-closes"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (server.stdin.close(), server.wait(30)))
        wait_for(lambda: os.path.exists(ready), "the sandbox over https")
        with open(ready, encoding="utf-8") as file:
            fhir_base = json.load(file)["fhir_base"]
        self.addCleanup(self.restart_with, self.config["extra"])
        block = f"""
[[server]]
name = "{{name}}"
fhir_base = "{fhir_base}"
{{more}}
"""
        self.restart_with(block.format(name="private", more=""))
        self.assert_refused(self.stack.enroll(server="private"), 4, "certificate|trust")
        self.assert_nothing_left()
        self.restart_with(block.format(name="private", more=f'ca_file = "{certificate}"'))
        trusted = self.stack.ctl(ALICE, "enroll", "private", "--with-token-file", "-", stdin="wrong")
        self.assert_refused(trusted, 4, "initial")

    def restart_with(self, extra):
        self.stack.stop("smartkeyd")
        self.stack.write_config(extra=extra)
        self.stack.start_daemon()

    def test_ConsentDenied(self):
        self.assert_refused(self.stack.enroll(login=["--deny"]), 4, "denied|declined|refused")
        self.assertEqual(self.stack.requests("/register"), [])
        self.assert_nothing_left()

    def test_RegisterScopeNotGranted(self):
        self.stack.switches(grant_register_scope=False)
        self.assert_refused(self.stack.enroll(), 4, "DynamicClient.register")
        self.assertEqual(self.stack.requests("/register"), [])
        self.assert_nothing_left()

    def test_WrongStateExchangesNothingAndTheRightRedirectStillCounts(self):
        from urllib.parse import parse_qs, urlsplit

        answers = []

        def forge(url):
            redirect = parse_qs(urlsplit(url).query)["redirect_uri"][0]
            try:
                urllib.request.urlopen(f"{redirect}?code=stolen&state=forged", timeout=30).read()
            except urllib.error.HTTPError as refused:
                answers.append(refused.code)
        result = self.stack.enroll(ALICE, on_url=forge)
        self.assertEqual(result.code, 0, str(result))
        self.assertEqual(answers, [404])
        exchanges = [r for r in self.stack.requests("/token") if r.get("grant_type") == "authorization_code"]
        self.assertEqual([r["status"] for r in exchanges], [200])

    def test_AnotherPatientAtALaterTokenIsDroppedAndTheRegistrationSaysSo(self):
        self.stack.switches(access_token_ttl=1)
        self.enrolled()
        self.stack.switches(token_answer={"value": "other_patient"})
        result = wait_for(lambda: next((r for r in [self.stack.ctl(ALICE, "token", SERVER)] if r.code != 0), None),
                          "the token to be refused")
        self.assert_refused(result, 4, "patient")
        self.assertEqual([r["state"] for r in self.registrations()], ["CONTEXT_CHANGED"])

    def test_InvalidGrantIsRetriedOnceWithAFreshAssertionThenSuspect(self):
        self.stack.switches(access_token_ttl=1)
        self.enrolled()
        before = len(self.stack.token_requests())
        self.stack.switches(token_error={"error": "invalid_grant", "description": None})
        result = wait_for(lambda: next((r for r in [self.stack.ctl(ALICE, "token", SERVER)] if r.code != 0), None),
                          "a refusal")
        self.assert_refused(result, 5, "invalid_grant|refused")
        again = self.stack.ctl(ALICE, "token", SERVER)
        self.assert_refused(again, 5)
        self.assertEqual([r["state"] for r in self.registrations()], ["SUSPECT"])
        refused = [r for r in self.stack.token_requests()[before:] if r["status"] == 400]
        self.assertEqual(len(refused), 2)

    def test_ServerBusyIsNotAskedAgainBeforeItsTime(self):
        self.stack.switches(access_token_ttl=1)
        self.enrolled()
        self.stack.switches(token_error={"error": "temporarily_unavailable", "status": 503, "retry_after": 600})
        result = wait_for(lambda: next((r for r in [self.stack.ctl(ALICE, "token", SERVER)] if r.code != 0), None),
                          "the server to be busy")
        self.assert_refused(result, 5)
        for _ in range(5):
            self.assertEqual(self.stack.ctl(ALICE, "token", SERVER).code, 5)
        self.assertEqual(len([r for r in self.stack.token_requests() if r["status"] == 503]), 1)
        # The other tests need that server.
        self.stack.kill_daemon()
        self.stack.start_daemon()

    def test_TokensThatHeadersCannotCarryAreNotHandedOut(self):
        self.stack.switches(access_token_ttl=1)
        self.enrolled()
        self.stack.switches(token_answer={"value": "override", "set": {"access_token": "a\r\nX-Evil: 1"}})
        result = wait_for(lambda: next((r for r in [self.stack.ctl(ALICE, "token", SERVER)] if r.code != 0), None),
                          "the answer to be refused")
        self.assertEqual(result.out, "")
        self.assertNotIn("X-Evil", result.err)


class Hardware(StackTest):
    def test_WithoutHardwareTheDaemonStartsDegradedAndSaysSo(self):
        self.stack.stop("smartkeyd")
        self.stack.hardware.stop()
        self.stack.start_daemon()
        self.assert_refused(self.stack.enroll(), 4, "hardware|tpm")
        status = self.stack.ctl("root", "status")
        self.assertEqual(status.code, 0, str(status))
        self.assertRegex(status.out, "ABSENT|absent")
        self.stack.hardware.start()

        def ready():
            return "READY" in self.stack.ctl("root", "--json", "status").out
        wait_for(ready, "the late TPM to be taken up", patience=90)
        self.enrolled()

    def test_AnotherTpmIsSaidToBeOneAndNothingIsDeleted(self):
        self.enrolled()
        self.stack.stop("smartkeyd")
        self.stack.hardware.replace()
        self.stack.start_daemon()
        result = self.stack.ctl(ALICE, "token", SERVER)
        self.assert_refused(result, 4, "tpm|key")
        self.assertEqual([r["state"] for r in self.registrations()], ["KEY_LOST"])


class Store(StackTest):
    def test_AnUnreadableDatabaseIsSaidAndLeftAlone(self):
        self.enrolled()
        self.stack.stop("smartkeyd")
        database = next(os.path.join(self.stack.state, name) for name in os.listdir(self.stack.state)
                        if name.endswith((".db", ".sqlite", ".sqlite3")))
        with open(database, "r+b") as file:
            file.seek(0)
            original = file.read()
            file.seek(0)
            file.write(b"this is no database" * 100)
        self.stack.start_daemon(wait=False)
        process = self.stack.processes["smartkeyd"]
        wait_for(lambda: process.poll() is not None or "database" in self.stack.read_log(), "a word about the database")
        self.assertIn("database", self.stack.read_log())
        self.stack.stop("smartkeyd")
        with open(database, "r+b") as file:
            self.assertEqual(file.read(19), b"this is no database")
            file.seek(0)
            file.write(original)
        self.stack.start_daemon()
        self.token()

    def test_ASecondDaemonOnTheSameStateIsRefused(self):
        before = self.stack.processes["smartkeyd"]
        second = self.stack.spawn("daemon", [os.path.join(self.stack.bin, "smartkeyd"), "--config", self.stack.config],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        out, _ = second.communicate(timeout=60)
        self.assertNotEqual(second.returncode, 0)
        self.assertRegex(out, "already|another|lock")
        self.assertIsNone(before.poll())
        self.assertEqual(self.stack.ctl(ALICE, "version").code, 0)


class NothingLeaks(StackTest):
    def refusal(self, **switches):
        self.stack.switches(**switches)
        return wait_for(lambda: next((r for r in [self.stack.ctl(ALICE, "token", SERVER)] if r.code != 0), None),
                        "a refusal")

    def test_NoSecretAndNoPatientInLogFilesArgvOrEnvironment(self):
        self.stack.switches(access_token_ttl=1)
        initial = self.stack.initial_token()["access_token"]
        self.secrets.add(initial)
        self.enrolled("--label", "Grandmother Label")
        self.token()
        self.stack.ctl(ALICE, "enroll", SERVER, "--with-token-file", "-", stdin=initial)
        refused = self.refusal(token_error={"error": "invalid_grant", "description": "pat-1 is gone"})
        self.assert_says_nothing_private(refused.err)
        self.stack.ctl(ALICE, "delete", SERVER, "--yes")
        self.stack.switches(token_error=None)
        self.enrolled()
        refused = self.refusal(token_answer={"value": "other_patient"})
        self.assert_says_nothing_private(refused.err)
        log = self.stack.read_log()
        self.assert_says_nothing_private(log)
        self.assertNotIn("Grandmother", log)
        pid = self.stack.processes["smartkeyd"].pid
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                data = file.read()
            for secret in self.secrets:
                self.assertNotIn(secret.encode(), data)
        data = self.state_bytes()
        for secret in self.secrets:
            self.assertNotIn(secret.encode(), data)
        self.assertNotIn(b"eyJ", data)


if __name__ == "__main__":
    unittest.main()
