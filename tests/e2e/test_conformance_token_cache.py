# SPDX-License-Identifier: Apache-2.0
"""Items 34 to 37 of the protocol's checklist: who gets a token that is there, and until when."""

import datetime
import pwd
import signal
import subprocess
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from conformance import ALICE, SERVER, ConformanceTest
from hardware import Token
from service_manager import ManagedStack
from stack import SERVICE, Failed, Stack, wait_for

OTHER_SCOPE = ("--scope", "patient/*.rs")


class CacheTest(ConformanceTest):
    @classmethod
    def make_stack(cls):
        return Stack(hardware=Token)

    def sent(self):
        return len(self.stack.token_requests())

    def shown(self, *args, registration=SERVER):
        """The token as JSON."""
        result = self.stack.ctl(ALICE, "--json", "token", registration, *args)
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
        token = result.json()
        self.secrets.add(token["access_token"])
        return token

    @staticmethod
    def seconds_left(token):
        end = datetime.datetime.strptime(token["expires_at"], "%Y-%m-%dT%H:%M:%SZ")
        return end.replace(tzinfo=datetime.timezone.utc).timestamp() - time.time()


class Cache(CacheTest):
    # 34

    def test_item_34_AHundredCallersTogetherAndAHundredInARowCostOneRequest(self):
        self.assert_enrolled_with_token()
        before = self.sent()
        self.stack.switches(delay_ms={"token": 2000})
        with ThreadPoolExecutor(100) as people:
            together = list(people.map(lambda _: self.ask(*OTHER_SCOPE), range(100)))
        self.assertEqual({result.code for result in together}, {0})
        self.assertEqual(len({result.out for result in together}), 1)
        self.assertEqual(self.sent(), before + 1)
        in_a_row = {self.ask(*OTHER_SCOPE).out for _ in range(100)}
        self.assertEqual(in_a_row, {together[0].out})
        self.assertEqual(self.sent(), before + 1)

    # 35

    def test_item_35_OtherScopesAreOtherTokensWhateverTheirOrder(self):
        self.assert_enrolled_with_token()
        everything = self.shown()
        some = self.shown("--scope", "patient/*.rs", "--scope", "openid")
        self.assertNotEqual(some["access_token"], everything["access_token"])
        self.assertEqual(set(some["scope"].split()), {"patient/*.rs", "openid"})
        sent = self.sent()
        again = self.shown("--scope", "openid", "--scope", "patient/*.rs", "--scope", "openid")
        self.assertEqual(again["access_token"], some["access_token"])
        self.assertEqual(self.shown()["access_token"], everything["access_token"])
        self.assertEqual(self.sent(), sent)

    def test_item_35_FewerScopesThanAskedForAreTold(self):
        self.assert_enrolled_with_token()
        self.stack.switches(token_answer={"value": "override", "set": {"scope": "patient/Observation.rs"}})
        token = self.shown(*OTHER_SCOPE)
        self.assertEqual((token["scope"], token["scope_narrowed"]), ("patient/Observation.rs", True))
        told = self.ask(*OTHER_SCOPE)
        self.assertIn("granted less than was asked for: patient/Observation.rs", told.err)

    def test_item_35_InvalidScopeReachesOnlyWhoAskedForIt(self):
        self.assert_enrolled_with_token()
        good = self.shown()
        with ThreadPoolExecutor(2) as people:
            bad = people.submit(self.stack.ctl, ALICE, "--json", "token", SERVER, "--scope", "patient/*.cruds")
            also_good = people.submit(self.ask)
            error = self.assert_error(bad.result(), "INVALID_SCOPE")
            self.assertEqual(also_good.result().code, 0)
        self.assertEqual(error["exit_code"], 2)
        self.assertEqual(self.shown()["access_token"], good["access_token"])
        self.assertEqual(self.shown(*OTHER_SCOPE)["scope"], "patient/*.rs")
        self.assertEqual(self.registrations()[0]["state"], "ACTIVE")

    # 36

    def test_item_36_ATokenIsReplacedBeforeItsMarginAndIsAlwaysGoodAtTheFhirServer(self):
        self.stack.switches(access_token_ttl=3)
        self.assert_enrolled_with_token()
        seen = []

        def several():
            token = self.shown()
            if token["access_token"] not in seen:
                seen.append(token["access_token"])
            self.assertEqual(self.stack.fhir_get("Patient/pat-1", token["access_token"])["id"], "pat-1")
            return len(seen) >= 4
        wait_for(several, "three replacements")

    def test_item_36_EachOddLifetimeIsReadAsTheTableSays(self):
        day = 86400
        # The JSON text of expires_in (None: not there), the seconds of life it gives (None: for one answer only).
        for raw, life in (("3600", 3600), ('"3600"', 3600), ("3600.5", 3600), (None, 60), ("null", 60), ("1", 1),
                          ("0", None), ("-1", None), ("1e308", day), ("100000", day)):
            with self.subTest(raw=raw):
                self.setUp()
                answer = {"value": "expires_in"} if raw is None else {"value": "expires_in", "raw": raw}
                self.stack.switches(token_answer=answer)
                self.assert_enrolled_with_token()
                sent = self.sent()
                if life is None:
                    tokens = {self.shown()["access_token"] for _ in range(3)}
                    self.assertEqual((len(tokens), self.sent()), (3, sent + 3))
                    continue
                token = self.shown()
                left = self.seconds_left(token)
                self.assertLessEqual(left, life)
                self.assertGreater(left, life - 60)
                if life > 10:
                    self.assertEqual(self.shown()["access_token"], token["access_token"])
                    self.assertEqual(self.sent(), sent)

    def test_item_36_ALifetimeThatIsNoneIsRefused(self):
        for raw in ('"1 hour"', "{}", "true", '""'):
            with self.subTest(raw=raw):
                self.setUp()
                self.assert_enrolled_with_token()
                self.forget_what_was_held_back()
                self.stack.switches(token_answer={"value": "expires_in", "raw": raw})
                refused = self.stack.ctl(ALICE, "--json", "token", SERVER, *OTHER_SCOPE)
                self.assert_error(refused, "BAD_SERVER_ANSWER", r"127\.0\.0\.1", "expires_in")


class InItsTime(ManagedStack):
    """smartkeyd in a time namespace (time_namespaces(7)) whose clock since boot is `offset` seconds off."""

    offset = 0

    def spawn(self, user, args, **options):
        if user != SERVICE or self.offset == 0:
            return super().spawn(user, args, **options)
        entry = pwd.getpwnam(user)
        return super().spawn("root", ["unshare", "--time", "--boottime", str(self.offset), "--setgid",
                                      str(entry.pw_gid), "--setuid", str(entry.pw_uid), "--", *args], **options)


class Clocks(CacheTest):
    @classmethod
    def make_stack(cls):
        return InItsTime(hardware=Token)

    def restart_with_boot_clock(self, offset):
        self.stack.stop("smartkeyd")
        self.stack.offset = offset
        self.stack.start_daemon()
        self.stack.offset = 0

    def test_item_37_AfterStandingStillItHandsOutNoTokenThatEndedMeanwhile(self):
        self.stack.switches(access_token_ttl=4)
        self.assert_enrolled_with_token()
        token = self.shown()["access_token"]
        daemon = self.stack.processes["smartkeyd"]
        daemon.send_signal(signal.SIGSTOP)
        self.addCleanup(daemon.send_signal, signal.SIGCONT)

        def has_ended():
            try:
                self.stack.fhir_get("Patient/pat-1", token)
            except Failed:
                return True
            return False
        wait_for(has_ended, "the token to end")
        daemon.send_signal(signal.SIGCONT)
        after = self.shown()["access_token"]
        self.assertNotEqual(after, token)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", after)["id"], "pat-1")

    def test_item_37_AClockSinceBootThatIsAnotherKeepsNoTokenWhicheverWayItIsOff(self):
        with open("/proc/uptime", encoding="ascii") as file:
            since_boot = int(float(file.read().split()[0]))
        self.assert_enrolled_with_token()
        token, sent = self.shown()["access_token"], self.sent()
        # As long as it is the same clock, a restart costs nothing.
        self.restart_with_boot_clock(0)
        self.assertEqual((self.shown()["access_token"], self.sent()), (token, sent))
        possible = subprocess.run(["unshare", "--time", "--boottime", "1", "true"], check=False,
                                  stderr=subprocess.DEVNULL).returncode == 0
        for offset in (7200, 600, -since_boot // 2) if possible else ():
            with self.subTest(offset):
                self.restart_with_boot_clock(offset)
                after = self.shown()
                self.assertNotEqual(after["access_token"], token)
                self.assertEqual(self.sent(), sent + 1)
                token, sent = after["access_token"], self.sent()


if __name__ == "__main__":
    unittest.main()
