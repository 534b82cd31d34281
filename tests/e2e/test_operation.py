# SPDX-License-Identifier: Apache-2.0
"""What whoever runs it looks at: doctor, report, metrics, health, the log level."""

import json
import os
import shutil
import socket
import subprocess

from stack import ALICE, BOB, ROOT, SERVER, wait_for
from story import StackTest


class Doctor(StackTest):
    def results(self, *args, user="root", code=None):
        result = self.stack.ctl(user, "--json", "doctor", *args)
        self.assertIn(result.code, (0, 1) if code is None else (code,), str(result))
        return [json.loads(line) for line in result.out.splitlines()]

    def outcome(self, number, *args):
        return [result for result in self.results(*args) if result["number"] == number]

    def test_EverythingWorks_EachCheckSaysWhatItSaw(self):
        registration = self.enrolled()
        results = self.results()
        numbers = {result["number"] for result in results}
        self.assertLessEqual({1, 2, 3, 10, 11, 20, 30, 40, 41, 42, 43, 44, 50, 51, 53, 60, 61, 62, 70, 71, 72, 80},
                             numbers)
        ours = [result for result in results if result["number"] >= 10]
        self.assertEqual([result for result in ours if result["outcome"] != "PASSED"], [])
        self.assertIn(" ms", next(result["finding"] for result in ours if result["number"] == 43))
        text = self.stack.ctl("root", "doctor").out
        self.assertLessEqual(max(len(line) for line in text.splitlines() if "://" not in line and "/" not in line), 80)
        self.assertIn("sign and verify", text)
        self.assertNotIn("pat-1", text)
        self.assertEqual(registration["state"], "ACTIVE")

    def test_AnAreaIsAskedFor_NothingElseIsTried(self):
        self.assertEqual({result["area"] for result in self.results("--area", "store", code=0)}, {"store"})
        self.assert_refused(self.stack.ctl("root", "doctor", "--area", "weather"), 2, "weather")

    def test_WithoutRights_TheChecksOfTheClientAreMade(self):
        results = self.results(user=BOB)
        self.assertEqual(results[0]["number"], 1)
        self.assertEqual(results[0]["outcome"], "PASSED")
        self.assertEqual(results[-1]["number"], 5)

    def test_NobodyAnswers_IsSaidWithWhatToDo(self):
        self.stack.stop("smartkeyd")
        try:
            socket_ = self.results("--area", "client", code=1)[0]
            self.assertEqual((socket_["number"], socket_["outcome"]), (1, "BROKEN"))
            self.assertTrue(socket_["remedy"])
        finally:
            self.stack.start_daemon()

    def test_TheHospitalIsAway_ItsCheckSaysSoAndOthersPass(self):
        port = int(self.stack.ready["fhir_base"].split(":")[2].split("/")[0])
        self.stack.stop("ehr")
        try:
            (server,) = self.outcome(70, "--area", "servers")
            self.assertEqual(server["outcome"], "BROKEN")
            self.assertIn("SERVER_UNREACHABLE", server["finding"])
            self.assertTrue(server["remedy"])
        finally:
            self.stack.start_ehr(port)

    def test_AShareIsNobodys_IsFound(self):
        with open(self.stack.config, encoding="utf-8") as file:
            config = file.read()
        self.stack.write_config(policy=f'[[policy]]\nallow_enroll = ["user:{ALICE}", "user:nobody-such"]\n')
        try:
            self.assertEqual(self.stack.ctl("root", "reload").code, 0)
            (found,) = self.outcome(30, "--area", "access")
            self.assertEqual(found["outcome"], "SUSPICIOUS")
            self.assertIn("nobody-such", found["finding"])
        finally:
            with open(self.stack.config, "w", encoding="utf-8") as file:
                file.write(config)
            self.stack.ctl("root", "reload")

    def test_AConfigurationHasAMistake_IsFound(self):
        drop_in = f"{self.stack.dir}/apps.d/broken.toml"
        os.makedirs(os.path.dirname(drop_in), exist_ok=True)
        with open(drop_in, "w", encoding="utf-8") as file:
            file.write("[[app]]\nidd = 'x'\n")
        try:
            self.stack.ctl("root", "reload")
            found = self.outcome(20, "--area", "config")
            self.assertTrue(all(result["outcome"] == "BROKEN" for result in found))
            self.assertTrue(any("idd" in result["finding"] for result in found), found)
        finally:
            os.unlink(drop_in)
            self.stack.ctl("root", "reload")

    def test_ARegistrationNeedsSomebody_IsFound(self):
        self.enrolled()
        self.stack.switches(token_error="unauthorized_client")
        self.stack.ctl(ALICE, "report-rejected", SERVER, stdin=self.token())
        wait_for(lambda: self.registrations()[0]["state"] == "MISCONFIGURED" or
                 self.stack.ctl(ALICE, "token", SERVER, "--min-valid", "23h").code == 99, "the refusal to count")
        found = self.outcome(80, "--area", "registrations")
        self.assertEqual(found[0]["outcome"], "SUSPICIOUS")
        self.assertIn("MISCONFIGURED", found[0]["finding"])


class Report(StackTest):
    def test_ReportIsWritten_NobodyAndNothingIsNamedInIt(self):
        registration = self.enrolled("--name", "grandmother", "--label", "Grandma Rose")
        token = self.token("grandmother")
        self.stack.ctl(ALICE, "share", "grandmother", f"user:{BOB}")
        file = f"{self.stack.dir}/report.json"
        result = self.stack.ctl("root", "report", "--output", file)
        self.assertEqual(result.code, 0, str(result))
        with open(file, encoding="utf-8") as written:
            text = written.read()
        self.assertEqual(os.stat(file).st_mode & 0o777, 0o600)
        host = socket.gethostname()
        for private in (registration["id"], "grandmother", "Grandma", "pat-1", token, f'"{ALICE}"', host,
                        self.stack.ready["fhir_base"]):
            self.assertNotIn(private, text)
        report = json.loads(text)
        self.assertEqual(report["registrations"][0]["registration"], "<registration-1>")
        self.assertEqual(report["registrations"][0]["state"], "ACTIVE")
        self.assertIn("smartkeyd_registrations", report["metrics"])
        again = self.stack.ctl("root", "report", "--output", file)
        self.assert_refused(again, 2, "exists")


class Metrics(StackTest):
    config = {"extra": '[metrics]\nsocket = "METRICS"\n'}

    @classmethod
    def make_stack(cls):
        stack = super().make_stack()
        cls.socket = f"{os.path.dirname(stack.socket)}/metrics.sock"
        cls.config = {"extra": f'[metrics]\nsocket = "{cls.socket}"\n'}
        return stack

    def text(self):
        result = self.stack.ctl("root", "metrics")
        self.assertEqual(result.code, 0, str(result))
        return result.out

    def value(self, line):
        for one in self.text().splitlines():
            if one.startswith(line + " "):
                return float(one.rsplit(" ", 1)[1])
        return None

    def test_WhatHappens_IsCountedAndNobodyIsNamed(self):
        registration = self.enrolled()
        tokens = 'smartkeyd_rpc_total{code="OK",method="TokenService/GetAccessToken"}'
        before = self.value(tokens) or 0
        token = self.token()
        self.token()
        wait_for(lambda: self.value(tokens) == before + 2, "both calls to be counted")
        self.assertEqual(self.value('smartkeyd_registrations{state="ACTIVE"}'), 1)
        self.assertEqual(self.value('smartkeyd_registrations{state="KEY_LOST"}'), 0)
        self.assertEqual(self.value('smartkeyd_hardware_state{state="READY"}'), 1)
        self.assertEqual(self.value(f'smartkeyd_server_held_back{{server="{SERVER}"}}'), 0)
        self.assertGreaterEqual(self.value('smartkeyd_hardware_operations_total{operation="sign",outcome="OK"}'), 1)
        self.assertGreaterEqual(self.value('smartkeyd_http_requests_total{method="POST",outcome="2xx"}'), 2)
        self.assertEqual(self.value("smartkeyd_audit_available"), 1)
        text = self.text()
        for private in (registration["id"], token, ALICE, "pat-1", self.stack.ready["fhir_base"]):
            self.assertNotIn(private, text)

    def test_TheSocketServesThemByHttp(self):
        answer = subprocess.run(["curl", "-sS", "--unix-socket", self.socket, "http://localhost/metrics"], check=True,
                                stdout=subprocess.PIPE, text=True).stdout
        self.assertIn("# TYPE smartkeyd_registrations gauge", answer)
        for method, path, told in (("GET", "/", "404"), ("DELETE", "/metrics", "404")):
            code = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "--unix-socket",
                                   self.socket, f"http://localhost{path}"], check=True, stdout=subprocess.PIPE,
                                  text=True).stdout
            self.assertEqual(code, told)
        refused = self.stack.spawn(BOB, ["curl", "-sS", "--unix-socket", self.socket, "http://localhost/metrics"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertNotEqual(refused.wait(30), 0)

    def test_TheFormatIsWhatPrometheusReads(self):
        text = self.text()
        names = set()
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                names.add(line.split(" ")[2])
            elif not line.startswith("#"):
                name = line.split("{")[0].split(" ")[0]
                base = name
                for suffix in ("_bucket", "_sum", "_count"):
                    base = base[:-len(suffix)] if base.endswith(suffix) and base[:-len(suffix)] in names else base
                self.assertIn(base, names)
                float(line.rsplit(" ", 1)[1])
        # Each that is told is in the documentation, and each rule asks for one that is there.
        root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs")
        with open(os.path.join(root, "metrics.md"), encoding="utf-8") as file:
            documented = file.read()
        for name in names:
            self.assertIn(f"`{name}`", documented)
        promtool = shutil.which("promtool")
        if promtool:
            subprocess.run([promtool, "check", "metrics"], input=text, check=False, text=True,
                           stdout=subprocess.DEVNULL)

    def test_LogLevel_IsSetAndSaid(self):
        result = self.stack.ctl("root", "log-level", "debug")
        self.assertEqual(result.code, 0, str(result))
        self.assertIn("it was info", result.out)
        self.assertIn("it was debug", self.stack.ctl("root", "log-level", "info").out)
        self.assert_refused(self.stack.ctl("root", "log-level", "loud"), 2, "error, warning, info")


class Health(StackTest):
    @classmethod
    def make_stack(cls):
        stack = super().make_stack()
        binaries = os.environ.get("SMARTKEY_BINARIES", os.path.join(ROOT, "build/release"))
        shutil.copy(os.path.join(binaries, "tests/integration/ask_health"), stack.bin)
        return stack

    def ask(self, service):
        process = self.stack.spawn(ALICE, [os.path.join(self.stack.bin, "ask_health"), self.stack.socket, service],
                                   stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process.stdout

    def test_HardwareGoesAndComes_ReadinessFollowsOnTheSameConnectionAndTheProcessLives(self):
        process, readiness = self.ask(""), self.ask("readiness")
        self.assertEqual(process.readline(), "SERVING\n")
        if readiness.readline() == "NOT_SERVING\n":  # it is only just ready
            self.assertEqual(readiness.readline(), "SERVING\n")
        self.stack.hardware.stop()
        self.stack.ctl("root", "doctor", "--area", "hardware")  # somebody has to need it for its absence to be seen
        self.assertEqual(readiness.readline(), "NOT_SERVING\n")
        self.stack.hardware.start()
        self.assertEqual(readiness.readline(), "SERVING\n")
        self.assertEqual(self.ask("").readline(), "SERVING\n")

    def test_TheHospitalIsAway_NothingOfThisMachineIsSaidToFail(self):
        port = int(self.stack.ready["fhir_base"].split(":")[2].split("/")[0])
        self.stack.stop("ehr")
        try:
            self.stack.ctl(ALICE, "token", SERVER)
            wait_for(lambda: self.ask("readiness").readline() == "SERVING\n", "it to be ready")
        finally:
            self.stack.start_ehr(port)

    def test_AServiceThatIsNone_IsUnknown(self):
        self.assertEqual(self.ask("no-such").readline(), "SERVICE_UNKNOWN\n")


if __name__ == "__main__":
    import unittest
    unittest.main()
