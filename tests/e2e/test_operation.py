# SPDX-License-Identifier: Apache-2.0
"""What whoever runs it looks at: doctor, report, metrics, health, the log level."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading

import yaml

from small_disk import SmallDisk
from stack import ALICE, BOB, PATIENCE, ROOT, SERVER, SERVICE, wait_for
from story import StackTest

RULES = os.path.join(ROOT, "docs/smartkeyd.rules.yml")


class Exposition:
    """Metrics in the text format."""

    def __init__(self, text):
        self.types = {}   # {name: "gauge"}
        self.series = []  # (name, labels, value)
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                self.types[name] = kind
            elif line and not line.startswith("#"):
                name, labels, value = re.fullmatch(r'(\w+)(?:\{((?:\w+="[^"]*",?)+)\})? (\S+)', line).groups()
                self.series.append((name, dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), float(value)))
                if self.family(name) not in self.types:
                    raise ValueError(f"{name} has no type")

    def family(self, name):
        """The histogram's name, of one of its series."""
        base = re.sub("_(bucket|sum|count)$", "", name)
        return base if self.types.get(base) == "histogram" else name

    def total(self, name, **labels):
        """Of all series of that name that have these labels."""
        return sum(value for one, has, value in self.series if one == name and labels.items() <= has.items())

    def values(self, name, label):
        return {has[label] for one, has, _ in self.series if one == name}

    def labels(self, family):
        return {label for name, has, _ in self.series if self.family(name) == family for label in has} - {"le"}


def documented():
    """{name: (type, labels)} of docs/metrics.md."""
    found = {}
    with open(os.path.join(ROOT, "docs/metrics.md"), encoding="utf-8") as file:
        for line in file:
            if line.startswith("| `smartkeyd_"):
                names, kind, labels = (cell.strip() for cell in line.split("|")[1:4])
                for name in re.findall(r"`(\w+)`", names):
                    found[name] = (kind, set(labels.split(", ")) if labels else set())
    return found


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

    def test_WhatIsDone_TakesItsTimeInEachHistogram(self):
        histograms = [(name, {label: value}) for names, label, values in (
            (("rpc_duration",), "method", ("TokenService/GetAccessToken", "EnrollmentService/BeginEnrollment")),
            (("hardware_duration", "hardware_wait"), "operation", ("create", "sign")),
            (("http_duration",), "method", ("GET", "POST"))) for name in names for value in values]

        def counts():
            told = Exposition(self.text())
            return [told.total(f"smartkeyd_{name}_seconds_count", **labels) for name, labels in histograms]
        before = counts()
        self.enrolled()
        self.token()
        wait_for(lambda: all(now > was for now, was in zip(counts(), before)), f"each of {histograms} to have grown")
        told = Exposition(self.text())
        for name, labels in histograms:
            with self.subTest(name, **labels):
                name = f"smartkeyd_{name}_seconds"
                count = told.total(f"{name}_count", **labels)
                self.assertEqual(told.total(f"{name}_bucket", le="+Inf", **labels), count)
                self.assertGreater(told.total(f"{name}_sum", **labels), 0)
        # As many as were counted: none has taken no time.
        for name, counter in (("rpc_duration", "rpc"), ("http_duration", "http_requests")):
            for method in told.values(f"smartkeyd_{name}_seconds_count", "method"):
                def agree():
                    now = Exposition(self.text())
                    return now.total(f"smartkeyd_{name}_seconds_count", method=method) == \
                        now.total(f"smartkeyd_{counter}_total", method=method)
                wait_for(agree, f"{name} of {method} to have what {counter} has")

    def test_TheKeyHardwareIsAbsent_IsToldAndItsCountersComeWithIt(self):
        def states():
            return {has["state"]: value for name, has, value in Exposition(self.text()).series
                    if name == "smartkeyd_hardware_state"}
        self.stack.stop("smartkeyd")
        self.stack.hardware.stop()
        self.stack.start_daemon()
        try:
            wait_for(lambda: states() == {"ABSENT": 1, "READY": 0, "DEGRADED": 0}, "the TPM to be missed")
            # Past the first look at its counter.
            wait_for(lambda: self.value("smartkeyd_uptime_seconds") > 12, "it to have run for a while")
            self.assertIsNone(self.value("smartkeyd_tpm_lockout_failures"))
        finally:
            self.stack.hardware.start()
        wait_for(lambda: states() == {"ABSENT": 0, "READY": 1, "DEGRADED": 0}, "the TPM to be taken up")
        wait_for(lambda: self.value("smartkeyd_tpm_lockout_limit"), "the TPM to be asked for its counter")
        self.assertGreaterEqual(self.value("smartkeyd_tpm_lockout_failures"), 0)

    def test_TheServerFailsOrAsksForTime_IsHeldBack(self):
        def gauge(name):
            return self.value(f'smartkeyd_server_{name}{{server="{SERVER}"}}')
        self.enrolled()
        self.token()
        self.assertEqual((gauge("held_back"), gauge("failing")), (0, 0))
        self.addCleanup(self.stack.start_daemon)  # its waits end with it
        self.addCleanup(self.stack.kill_daemon)
        for error in ({"error": "server_error", "status": 500},
                      {"error": "temporarily_unavailable", "status": 503, "retry_after": 600}):
            with self.subTest(**error):
                self.stack.switches(token_error=error)
                self.stack.kill_daemon()  # with the token it has
                self.stack.start_daemon()

                def asked_in_vain():
                    self.assertNotEqual(self.stack.ctl(ALICE, "token", SERVER).code, 0)
                    return gauge("held_back") == 1
                wait_for(asked_in_vain, "the server to be held back")
                self.assertEqual(gauge("failing"), 1)

    def test_WhatIsTold_IsWhatIsDocumented(self):
        self.enrolled()
        self.token()
        wait_for(lambda: self.value("smartkeyd_tpm_lockout_limit"), "the TPM to be asked for its counter")
        told = Exposition(self.text())
        self.assertEqual(told.types, {name: row[0] for name, row in documented().items()})
        for name, (_, labels) in documented().items():
            self.assertEqual(told.labels(name), labels, name)

    def test_TheRules_AskForSeriesThatThereAre(self):
        self.enrolled()
        self.token()
        wait_for(lambda: self.value("smartkeyd_tpm_lockout_limit"), "the TPM to be asked for its counter")
        told = Exposition(self.text())
        with open(RULES, encoding="utf-8") as file:
            rules = [rule for group in yaml.safe_load(file)["groups"] for rule in group["rules"]]
        for rule in rules:
            asked = re.findall(r"(smartkeyd_\w+)(?:\{([^}]*)\})?", rule["expr"])
            self.assertTrue(asked, rule["alert"])
            for name, matchers in asked:
                series = [has for one, has, _ in told.series if one == name]
                self.assertTrue(series, f"{rule['alert']} asks for {name}")
                pairs = re.findall(r'(\w+)=~?"([^"]*)"', matchers)
                self.assertEqual(len(pairs), len(matchers.split(",")) if matchers else 0, matchers)
                for label, values in pairs:
                    for value in values.split("|"):
                        self.assertIn(value, {has.get(label) for has in series}, f"{rule['alert']}: {name}, {label}")
            labels = {label for name, _ in asked for label in told.labels(told.family(name))}
            for text in rule["annotations"].values():
                self.assertLessEqual(set(re.findall(r"\$labels\.(\w+)", text)), labels, rule["alert"])

    def test_TheFormatAndTheRules_AreWhatPrometheusReads(self):
        text = self.text()
        Exposition(text)
        promtool = shutil.which("promtool")  # scripts/install-deps --deep
        if promtool:
            for args, given in ((["metrics"], text), (["rules", RULES], None)):
                result = subprocess.run([promtool, "check", *args], input=given, check=False, text=True,
                                        capture_output=True)
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_LogLevel_IsSetAndSaid(self):
        result = self.stack.ctl("root", "log-level", "debug")
        self.assertEqual(result.code, 0, str(result))
        self.assertIn("it was info", result.out)
        self.assertIn("it was debug", self.stack.ctl("root", "log-level", "info").out)
        self.assert_refused(self.stack.ctl("root", "log-level", "loud"), 2, "error, warning, info")


class HealthTest(StackTest):
    @classmethod
    def make_stack(cls):
        stack = super().make_stack()
        binaries = os.environ.get("SMARTKEY_BINARIES", os.path.join(ROOT, "build/release"))
        shutil.copy(os.path.join(binaries, "tests/integration/ask_health"), stack.bin)
        return stack

    def watch(self, service):
        process = self.stack.spawn(ALICE, [os.path.join(self.stack.bin, "ask_health"), self.stack.socket, service],
                                   stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def ask(self, service):
        return self.watch(service).stdout


class Health(HealthTest):
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


class HealthOfTheStore(HealthTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.stack.stop("smartkeyd")
        cls.disk = SmallDisk(cls.stack.state, SERVICE)
        cls.addClassCleanup(cls.disk.close)
        cls.addClassCleanup(cls.stack.stop, "smartkeyd")
        cls.stack.start_daemon()

    def await_answer(self, watch, wanted):
        """Reads on, over what was said before."""
        limit = threading.Timer(PATIENCE, watch.kill)
        limit.start()
        self.assertTrue(any(line == wanted for line in watch.stdout), f"it did not say {wanted}")
        limit.cancel()

    def test_TheDiskFillsAndHasRoomAgain_ReadinessFollowsOnTheSameConnectionAndTheProcessLives(self):
        process, readiness = self.watch(""), self.watch("readiness")
        self.await_answer(process, "SERVING\n")
        self.await_answer(readiness, "SERVING\n")
        self.disk.fill()
        self.addCleanup(self.disk.free)
        refused = self.stack.enroll(ALICE)  # somebody has to write for it to be seen
        self.assertNotEqual(refused.code, 0, str(refused))
        self.await_answer(readiness, "NOT_SERVING\n")
        self.assertEqual(self.ask("").readline(), "SERVING\n")
        self.assertEqual(self.ask("readiness").readline(), "NOT_SERVING\n")
        self.assertEqual(self.stack.ctl("root", "--json", "status").json()["hardware"]["state"], "READY")
        self.disk.free()
        self.await_answer(readiness, "SERVING\n")  # and nobody has written
        self.enrolled()
        process.kill()
        self.assertLessEqual(set(process.stdout), {"SERVING\n"}, "of the process nothing else was said")


if __name__ == "__main__":
    import unittest
    unittest.main()
