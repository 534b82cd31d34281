# SPDX-License-Identifier: Apache-2.0
"""The configuration read again by a daemon that goes on: the same process, the same tokens."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

from life import LifeTest, without_server
from stack import ALICE, BOB, SERVER, wait_for
from watching import Watching

ANOTHER = """
[[server]]
name = "grace"
fhir_base = "https://grace.example/fhir"
"""


def with_another(text):
    return text + ANOTHER


def with_mistakes(text):
    return text.replace("[key_provider]", "[key_provider]\nptye = 1") + ANOTHER.replace("name", "nmae")


class Reload(LifeTest):
    def setUp(self):
        super().setUp()
        self.configure()
        self.assertEqual(self.reload().code, 0)
        self.pid = self.stack.daemon_pid()

    def tearDown(self):
        # The very process that was there before.
        self.assertEqual(self.stack.daemon_pid(), self.pid)
        self.assertIsNone(self.stack.processes["smartkeyd"].poll())

    def reload(self, edit=None):
        self.configure(edit)
        return self.stack.ctl("root", "reload")

    def status(self):
        return self.stack.ctl("root", "--json", "status").json()

    def servers(self):
        return [server["name"] for server in self.stack.ctl(ALICE, "--json", "servers").json()["servers"]]

    def test_AServerThatIsNewIsThereAtOnceAndTokensStay(self):
        self.enrolled()
        token, asked = self.token(), len(self.stack.token_requests())
        loaded = self.status()["config_loaded_at"]
        done = self.reload(with_another)
        self.assertEqual((done.code, done.out, done.err), (0, "Reloaded:\n  server grace is new\n", ""), str(done))
        self.assertEqual(self.servers(), ["grace", SERVER])
        self.assertEqual(self.token(), token)
        self.assertEqual(len(self.stack.token_requests()), asked)
        self.assertGreaterEqual(self.status()["config_loaded_at"], loaded)
        done = self.reload(with_another)
        self.assertEqual(done.out, "Reloaded: the apps and servers are as before.\n", str(done))

    def test_AServerThatGoesGivesNoTokensAndThoseWhoWatchAreTold(self):
        registration = self.enrolled()
        token = self.token()
        watching = self.enterContext(Watching(self.stack))
        watching.wait_for_event("SYNCED")
        self.assertEqual(self.reload(without_server).code, 0)
        gone = watching.wait_for("the server's removal", lambda event: event["event"] == "CURRENT")["registration"]
        self.assertEqual((gone["id"], gone["cause"]["reason"]), (registration["id"], "SERVER_REMOVED"))
        self.assert_refused(self.stack.ctl(ALICE, "token", SERVER), 4, "no longer configured", "administrator")
        self.assertEqual(self.reload().code, 0)
        back = watching.wait_for("the server's return", lambda event: event["event"] == "CURRENT")["registration"]
        self.assertNotIn("cause", back)
        self.assertEqual(self.token(), token)

    def test_AServerThatIsRenamedGoesOn(self):
        self.enrolled()
        token = self.token()
        done = self.reload(lambda text: text.replace(f'name = "{SERVER}"', 'name = "mercy"'))
        self.assertEqual(done.out, f"Reloaded:\n  server {SERVER} is called mercy now\n", str(done))
        self.assertEqual(self.show()["server"], "mercy")
        self.assertEqual(self.token(), token)

    def test_EndpointsOfARegistrationStayThoughTheServersAreOthers(self):
        self.enrolled()
        done = self.reload(lambda text: text.replace(
            "allow_loopback_http = true",
            'allow_loopback_http = true\nassertion_audience = "https://elsewhere.example/token"'))
        self.assertRegex(done.out, r"has another assertion_audience: for enrollments from now on")
        # Fetched anew: the sandbox refuses an assertion for another audience.
        self.assertNotEqual(self.token(SERVER, "--scope", "patient/*.rs"), "")

    def test_MistakesLeaveAllAsItWasAndAreSaid(self):
        self.enrolled()
        token = self.token()
        refused = self.reload(with_mistakes)
        self.assertEqual(refused.code, 4, str(refused))
        self.assertRegex(refused.err, r'smartkeyd\.toml:\d+: unknown key "ptye".*type')
        self.assertRegex(refused.err, r'smartkeyd\.toml:\d+: unknown key "nmae".*name')
        self.assertIn("nothing was changed", refused.err)
        self.assertEqual(self.servers(), [SERVER])
        self.assertEqual(self.token(), token)
        kept = [error["message"] for error in self.status()["reload_errors"]]
        for typed in ("ptye", "nmae"):
            self.assertEqual(len([message for message in kept if typed in message]), 1, kept)
        self.assertIn("would not start anew", self.stack.ctl("root", "status").out)
        self.assertEqual(self.reload().code, 0)
        self.assertEqual(self.status()["reload_errors"], [])

    def test_ADropInWithAMistakeIsLeftOutAlone(self):
        folder = f"{self.stack.config}.d"
        os.makedirs(folder, exist_ok=True)
        self.addCleanup(os.rmdir, folder)
        for name, text in (("bad.toml", "[[sever]]\n"), ("good.toml", ANOTHER)):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                file.write(text)
            self.addCleanup(os.unlink, os.path.join(folder, name))
        done = self.reload()
        self.assertEqual((done.code, done.out), (1, "Reloaded:\n  server grace is new\n"), str(done))
        self.assertRegex(done.err, r"bad\.toml:1: .*not in use")
        self.assertEqual(self.servers(), ["grace", SERVER])

    def test_SighupDoesTheSameAndTheJournalSaysWhatCameOfIt(self):
        self.configure(with_another)
        os.kill(self.pid, signal.SIGHUP)
        wait_for(lambda: self.servers() == ["grace", SERVER], "the reload")
        self.configure(with_mistakes)
        os.kill(self.pid, signal.SIGHUP)
        wait_for(lambda: self.status()["reload_errors"], "the reload that fails")
        self.assertEqual(self.servers(), ["grace", SERVER])
        wait_for(lambda: "the configuration stays as it was" in self.stack.read_log(), "the journal")
        self.assertIn("server grace is new", self.stack.read_log())

    def test_AgainAndAgainWhileOthersAsk_EverybodyIsAnswered(self):
        self.enrolled()
        self.token()
        asked = (("root", "status"), (ALICE, "servers"), (ALICE, "list"), (ALICE, "token", SERVER), (ALICE, "show", SERVER))
        done = threading.Event()

        def ask(command):
            codes = set()
            while not done.is_set():
                codes.add(self.stack.ctl(*command).code)
            return codes
        with ThreadPoolExecutor(len(asked)) as people:
            asking = [people.submit(ask, command) for command in asked]
            for number in range(20):
                self.assertEqual(self.reload(with_another if number % 2 else None).code, 0)
            done.set()
            for command, codes in zip(asked, asking):
                self.assertEqual(codes.result(), {0}, command)

    def test_WhatNeedsARestartIsSaidAndOnlyAnAdministratorMayReload(self):
        done = self.reload(lambda text: text + '\n[http]\nproxy = "http://proxy.example:3128"\n')
        self.assertEqual(done.code, 0, str(done))
        self.assertIn("Not in force before the next start of smartkeyd:\n  [http] proxy\n", done.out)
        refused = self.stack.ctl(BOB, "reload")
        self.assertNotEqual(refused.code, 0)
        self.assertEqual(refused.out, "")
