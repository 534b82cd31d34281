# SPDX-License-Identifier: Apache-2.0
"""Items 42 to 46 of the protocol's checklist: what happens on the way to the token endpoint."""

import email.utils
import os
import subprocess
import time
import unittest

from conformance import ALICE, SERVER, ConformanceTest
from hardware import Token
from listener import Listener
from second_ehr import SecondEhr
from stack import Stack, wait_for
from tls_hospital import DAY, Authority, OldTls, TlsHospital

OTHER_SCOPE = ("--scope", "patient/*.rs")


class TransportTest(ConformanceTest):
    @classmethod
    def make_stack(cls):
        return Stack(hardware=Token)

    def refusal(self, *args, registration=SERVER):
        return self.stack.ctl(ALICE, "--json", "token", registration, *(args or OTHER_SCOPE))

    def sent(self):
        return len(self.stack.token_requests())


class Redirects(TransportTest):
    def test_item_42_RedirectsAtTheTokenEndpointAreNotFollowed(self):
        self.assert_enrolled_with_token()
        with Listener() as elsewhere:
            for status in (301, 302, 303, 307, 308):
                with self.subTest(status):
                    self.forget_what_was_held_back()
                    self.stack.switches(token_answer={"value": "redirect", "status": status,
                                                      "location": f"{elsewhere.url}/token?x=secret"})
                    error = self.assert_error(self.refusal(), "REDIRECT_REFUSED", r"127\.0\.0\.1")
                    self.assertNotIn("secret", error["message"])
            self.assertEqual(elsewhere.targets, [])


class Tls(TransportTest):
    """A registration at a hospital with a private authority; then the hospital's port answers otherwise."""

    def setUp(self):
        super().setUp()
        folder = os.path.join(self.stack.dir, "tls")
        os.makedirs(folder, exist_ok=True)
        self.authority, self.stranger = Authority(folder, "clinic-ca"), Authority(folder, "other-ca")
        with TlsHospital(self.stack, *self.authority.certify("first")) as hospital:
            self.port = hospital.port
            self.stack.write_config(extra=f'[[server]]\nname = "private"\nfhir_base = "{hospital.ready["fhir_base"]}"\n'
                                          f'ca_file = "{self.authority.file}"\n')
            self.assertEqual(self.stack.ctl("root", "reload").code, 0)
            ready, self.stack.ready = self.stack.ready, hospital.ready
            self.addCleanup(setattr, self.stack, "ready", ready)
            self.unverified()
            initial = self.stack.initial_token()["access_token"]
            self.stack.ready = ready
            self.assert_enrolled_with_token(server="private", token=initial)
        self.forget_what_was_held_back()

    def unverified(self):
        """The test's own look at the sandbox's control interface."""
        os.environ["SSL_CERT_FILE"] = self.authority.file
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE", None)

    def assert_not_trusted(self, certificate, *words):
        with TlsHospital(self.stack, *certificate, port=self.port) as hospital:
            refused = self.refusal("--scope", "patient/*.rs", registration="private")
            self.assert_error(refused, "TLS_NOT_TRUSTED", rf"127\.0\.0\.1:{self.port}", *words)
            self.assertEqual(self.requests_at(hospital), [])
        self.forget_what_was_held_back()

    def requests_at(self, hospital):
        """By the log of a server whose certificate this test does not look at."""
        listed = subprocess.run(["curl", "-sk", f"{hospital.ready['control']}/log"], check=True, text=True,
                                stdout=subprocess.PIPE)
        return [] if listed.stdout.strip() == "[]" else listed.stdout

    def test_item_43_WhoeverIsNotTheHospitalGetsNoAssertion(self):
        self.assert_not_trusted(self.stranger.certify("stranger"))
        self.assert_not_trusted(self.authority.certify("elsewhere", host="other.example"), "name|host")
        self.assert_not_trusted(self.authority.certify("old", until=-DAY), "expired")
        with TlsHospital(self.stack, *self.authority.certify("renewed"), port=self.port):
            # The sandbox has forgotten everybody: it is heard, which is what matters here.
            heard = self.refusal("--scope", "patient/*.rs", registration="private")
            self.assert_error(heard, "REFUSED_BY_SERVER")

    def test_item_43_AServerWithOldTlsOnlyIsNotSpokenTo(self):
        with OldTls(*self.authority.certify("ancient"), self.port) as old:
            refused = self.refusal("--scope", "patient/*.rs", registration="private")
            error = self.error_of(refused)
            self.assertIn(error["reason"], ("TLS_NOT_TRUSTED", "SERVER_UNREACHABLE"))
            self.assertRegex(error["message"], "(?i)tls|ssl")
            self.assertEqual((old.handshakes, old.connections > 0), (0, True))


class Busy(TransportTest):
    def setUp(self):
        super().setUp()
        self.forget_what_was_held_back()

    def held_back(self, **error):
        """The server is busy; the seconds after which smartkeyd says it may be asked again."""
        self.forget_what_was_held_back()
        self.stack.switches(token_error={"error": "temporarily_unavailable", **error})
        sent, asked = self.sent(), time.monotonic()
        refused = self.assert_error(self.refusal(), "SERVER_BUSY", r"127\.0\.0\.1")
        self.assertEqual(refused["exit_code"], 5)
        # Whoever asks, for whatever scopes: nothing is sent before that. It is told in whole seconds.
        for args in (OTHER_SCOPE, ("--scope", "openid"), ("--scope", "launch/patient")):
            again = self.refusal(*args)
            if time.monotonic() > asked + refused["retry_after_seconds"] - 1:
                break  # too slow a machine to say
            self.assertGreater(self.assert_error(again, "SERVER_BUSY")["retry_after_seconds"], 0)
            self.assertEqual(self.sent(), sent + 1)
        return refused["retry_after_seconds"]

    def test_item_44_NothingIsSentBeforeTheTimeThatTheServerNames(self):
        self.assert_enrolled_with_token()
        for status in (429, 503):
            with self.subTest(status):
                self.assertAlmostEqual(self.held_back(status=status, retry_after=600), 600, delta=30)
        date = email.utils.formatdate(time.time() + 900, usegmt=True)
        self.assertAlmostEqual(self.held_back(status=503, retry_after=date), 900, delta=60)

    def test_item_44_JunkAndTenDaysAreClamped(self):
        self.assert_enrolled_with_token()
        for retry_after in ("864000", "99999999999999999999",
                            email.utils.formatdate(time.time() + 864_000, usegmt=True)):
            with self.subTest(retry_after):
                self.assertAlmostEqual(self.held_back(status=503, retry_after=retry_after), 3600, delta=90)
        for retry_after in ("soon", "-5", "1e3", email.utils.formatdate(time.time() - 900, usegmt=True)):
            with self.subTest(retry_after):
                self.assertLessEqual(self.held_back(status=503, retry_after=retry_after), 10)

    def test_item_45_ErrorsAreTriedAgainWithGrowingGapsAndItRecoversByItself(self):
        self.assert_enrolled_with_token()
        self.stack.switches(token_error={"error": "server_error", "status": 500})
        sent = self.sent()
        waits = []

        def failed_again():
            """Asks all the time, as impatient apps do; a request is sent when the gap is over."""
            before = self.sent()
            error = self.assert_error(self.refusal(), "SERVER_ERROR", r"127\.0\.0\.1")
            if self.sent() > before:
                waits.append(error["retry_after_seconds"])
            return len(waits) == 3
        wait_for(failed_again, "three attempts")
        self.assertEqual(self.sent(), sent + 3)
        # 1, 2 and 4 s, each up to a fifth more or less, told in whole seconds.
        for wait, (least, most) in zip(waits, ((1, 2), (2, 3), (4, 5))):
            self.assertTrue(least <= wait <= most, waits)
        jtis = [request["jti"] for request in self.stack.token_requests()]
        self.assertEqual(len(set(jtis)), len(jtis))
        self.assertEqual(self.registrations()[0]["state"], "ACTIVE")
        self.stack.switches(token_error=None)
        wait_for(lambda: self.ask(*OTHER_SCOPE).code == 0, "a token after the errors")


class Slow(TransportTest):
    def setUp(self):
        super().setUp()
        self.assert_enrolled_with_token()
        self.cached = self.token()

    def second_server(self):
        """A registration at a server that is quick."""
        other = SecondEhr(self.stack)
        self.addCleanup(other.close)
        self.stack.write_config(extra=f'[[server]]\nname = "quick"\nfhir_base = "{other.ready["fhir_base"]}"\n'
                                      "allow_loopback_http = true\n")
        self.assertEqual(self.stack.ctl("root", "reload").code, 0)
        initial = other.control("initial_token", {"client_id": "growth-chart", "user": "alice", "patient": "pat-1"})
        self.assert_enrolled_with_token(server="quick", token=initial["access_token"])

    def hang(self, count):
        """So many callers wait for a server that does not answer, while others are served; then they give up.
        Returns the daemon's threads meanwhile.
        """
        self.stack.switches(delay_ms={"token": 60_000})
        scopes = ("patient/*.rs", "openid", "launch/patient", "fhirUser")
        callers = [self.stack.spawn(ALICE, self.stack.ctl_args(ALICE, ("token", SERVER, "--scope", scopes[n % 4])),
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                   for n in range(count)]

        def end_all():
            for caller in callers:
                if caller.poll() is None:
                    caller.kill()
                caller.wait()
        self.addCleanup(end_all)
        wait_for(lambda: self.status()["connections"]["public"] >= count, "everybody to be connected")
        wait_for(lambda: self.status()["cache"]["in_flight"] == 4, "four requests under way, one for each scope")
        self.assertEqual(self.token(), self.cached)
        self.assertEqual(self.ask("--scope", "patient/*.rs", registration="quick").code, 0)
        self.assertTrue(all(caller.poll() is None for caller in callers))
        threads = len(os.listdir(f"/proc/{self.stack.daemon_pid()}/task"))
        end_all()
        wait_for(lambda: self.status()["connections"]["public"] <= 1, "their connections to end")
        return threads

    def test_item_46_TwoHundredHungCallsKeepNobodyElseAndNoThread(self):
        self.second_server()
        few, many = self.hang(20), self.hang(60 if self.stack.sanitized() else 200)
        # gRPC's own pool grows and shrinks by a few as it likes; callers have no thread each.
        self.assertLess(many, few + 20)

    def status(self):
        return self.stack.ctl("root", "--json", "status").json()

    def test_item_46_ADrippingAnswerIsGivenUp(self):
        self.stack.switches(drip_ms={"token": 2000})
        started = time.monotonic()
        result = self.refusal()
        self.assert_error(result, "SERVER_UNREACHABLE", r"127\.0\.0\.1")
        self.assertLess(time.monotonic() - started, 60)
        self.assertEqual(self.token(), self.cached)


if __name__ == "__main__":
    unittest.main()
