# SPDX-License-Identifier: Apache-2.0
"""A stack whose daemon can be killed, or stopped, at each of its crash points (base/crash_point.h)."""

import glob
import json
import os
import re
import signal
import subprocess

from hardware import Token
from stack import ALICE, ROOT, SERVER, SERVICE, Stack, wait_for
from story import StackTest

UNFINISHED = {"PENDING", "REGISTERING", "VERIFYING", "DELETING"}

# Numbers of the proto and of the database.
STATES = dict(enumerate(("PENDING", "REGISTERING", "VERIFYING", "ACTIVE", "SUSPECT", "REAUTH_REQUIRED", "MISCONFIGURED",
                         "CONTEXT_CHANGED", "ORPHANED", "KEY_UNAVAILABLE", "KEY_LOST", "DELETING"), 1))

GENERATIONS = """
import json, sqlite3, sys
db = sqlite3.connect("file:" + sys.argv[1] + "?mode=ro", uri=True)
print(json.dumps(db.execute("SELECT registration_id, number, state FROM generations").fetchall()))
"""

# Only in a record and in what is said of it: where it is found, the record is.
LABEL = "canary-label-of-a-person"


def all_crash_points():
    """The names in the source."""
    names = set()
    for folder in ("base", "daemon", "hsm"):
        for path in glob.glob(os.path.join(ROOT, folder, "**/*.cc"), recursive=True):
            with open(path, encoding="utf-8") as file:
                names.update(re.findall(r'CrashPoint\("([^"]+)"\)', file.read()))
    return names


class CrashStack(Stack):
    def __init__(self):
        super().__init__(hardware=Token, daemon="tests/support/smartkeyd_crashing")
        self.orders = os.path.join(self._make_dir("crash", SERVICE), "orders")
        self.daemon_environment = {"SMARTKEY_CRASH_ORDERS": self.orders}

    def order(self, text):
        """See tests/support/crash_at.cc. Counting begins anew. None: crash points do nothing."""
        for path in (self.orders, self.orders + ".trace"):
            if os.path.exists(path):
                os.unlink(path)
        if text is not None:
            with open(self.orders + ".new", "w", encoding="ascii") as file:
                file.write(text + "\n")
            os.rename(self.orders + ".new", self.orders)

    def trace(self):
        """What was passed since the order was given, as (name, how many times so far)."""
        if not os.path.exists(self.orders + ".trace"):
            return []
        with open(self.orders + ".trace", encoding="ascii") as file:
            names = file.read().split()
        return [(name, names[:i + 1].count(name)) for i, name in enumerate(names)]


class Story:
    """Something that changes registrations for good. What must hold whenever it was interrupted: see CrashTest."""

    name = ""
    patient = "pat-1"  # of the registration afterwards, if there is one
    posts = 1          # registration requests of this story at most
    before = False     # there is a registration before it, in `test.before`
    fails_otherwise = None  # words of a story that never succeeds

    def switches(self):
        """What the hospital does differently."""
        return {}

    def switches_off(self):
        """As it does otherwise."""
        return {}

    def tell(self, test):
        """Does it, and returns what smartkeyctl said."""
        raise NotImplementedError

    def check(self, test, generations, said, passed):
        """What is so afterwards. `generations`: of all records, as {id: {number: state}}; `passed`: crash points."""
        raise NotImplementedError


class Enrollment(Story):
    name = "enrollment"

    def tell(self, test):
        return test.stack.enroll(ALICE, "--label", LABEL)

    def check(self, test, generations, said, passed):
        states = [state for one in generations.values() for state in one.values()]
        if "enrollment.client_recorded" in passed:
            test.assertEqual(states, ["ACTIVE"])
        elif "enrollment.registering" in passed:
            test.assertEqual(states, ["ORPHANED"])
        elif len(passed) == 1 and passed[0] in ("store.begun", "store.rows_written"):
            test.assertEqual(states, [])
        else:  # that of the commit before a point, or nothing
            test.assertIn(states, ([], ["ORPHANED"], ["ACTIVE"]))
        if said.code == 0:
            test.assertEqual(states, ["ACTIVE"])


class Refused(Enrollment):
    """The server refuses the registration: nothing stays, unless nobody knows that it did."""

    name = "refused enrollment"
    fails_otherwise = "invalid_client_metadata"

    def switches(self):
        return {"registration_error": {"status": 400, "error": "invalid_client_metadata"}}

    def switches_off(self):
        return {"registration_error": None}

    def check(self, test, generations, said, passed):
        test.assertNotEqual(said.code, 0)
        states = [state for one in generations.values() for state in one.values()]
        test.assertIn(states, ([], ["ORPHANED"]))
        if "enrollment.registering" not in passed and "store.committed" not in passed:
            test.assertEqual(states, [])
        if "abandonment.record_removed" in passed:
            test.assertEqual(states, [])


class Lost(Enrollment):
    """Both answers of the server are lost: the record stays and says so."""

    name = "lost enrollment"
    posts = 2
    fails_otherwise = "was lost"

    def switches(self):
        return {"drop_after": {"register": {"value": True, "times": 2}}}

    def switches_off(self):
        return {"drop_after": {"register": None}}

    def check(self, test, generations, said, passed):
        test.assertNotEqual(said.code, 0)
        states = [state for one in generations.values() for state in one.values()]
        test.assertIn(states, ([], ["ORPHANED"]))
        if "enrollment.registering" in passed:
            test.assertEqual(states, ["ORPHANED"])


class Renewal(Story):
    name = "renewal"
    before = True

    def tell(self, test):
        return test.stack.enroll(ALICE, command="renew")

    def check(self, test, generations, said, passed):
        ((registration, states),) = generations.items()
        test.assertEqual(registration, test.before["id"])
        # Old, or new, or old with an orphan beside it that says so.
        test.assertIn(states, ({1: "ACTIVE"}, {2: "ACTIVE"}, {1: "ACTIVE", 2: "ORPHANED"}))
        if said.code == 0 or "enrollment.client_recorded" in passed:
            test.assertEqual(states, {2: "ACTIVE"})
        elif "enrollment.registering" in passed:
            test.assertEqual(states, {1: "ACTIVE", 2: "ORPHANED"})


class OtherPatient(Renewal):
    """A renewal that comes back for somebody else: the old generation goes on."""

    name = "renewal for another patient"
    fails_otherwise = "another patient"

    def tell(self, test):
        return test.stack.enroll(ALICE, command="renew", patient="pat-2")

    def check(self, test, generations, said, passed):
        test.assertNotEqual(said.code, 0)
        ((registration, states),) = generations.items()
        test.assertEqual(registration, test.before["id"])
        test.assertEqual(states[1], "ACTIVE")
        test.assertIn(states.get(2), (None, "ORPHANED", "CONTEXT_CHANGED"))
        if "another patient" in said.out or "enrollment.client_recorded" in passed:
            test.assertEqual(states, {1: "ACTIVE", 2: "CONTEXT_CHANGED"})
        elif "enrollment.registering" in passed:
            test.assertEqual(states, {1: "ACTIVE", 2: "ORPHANED"})


class Deletion(Story):
    name = "deletion"
    before = True
    posts = 0

    def tell(self, test):
        return test.stack.ctl(ALICE, "delete", test.before["id"], "--yes")

    def check(self, test, generations, said, passed):
        test.assertIn(list(generations.values()), ([], [{1: "ACTIVE"}]))
        if said.code == 0 or "deletion.marked" in passed:
            test.assertEqual(generations, {})


STORIES = (Enrollment, Renewal, OtherPatient, Deletion, Refused, Lost)


class CrashTest(StackTest):
    """Whatever a story was interrupted by, afterwards:

    - the daemon starts, and comes to rest;
    - what smartkeyctl reported is so: nothing that was enrolled is missing, nothing that was deleted is there;
    - what was there before is there still, unless it was deleted, and serves its own patient;
    - what is offered gives tokens, what does not is not offered;
    - the server got no more registrations than the story needs;
    - the token holds the keys of records, and no other; only a kill between the making of a key and its being
      written down may leave one, which is then shown as a stray;
    - what is there can be renewed, and a new enrollment works.
    """

    @classmethod
    def make_stack(cls):
        return CrashStack()

    def prepare(self, story):
        self.stack.order(None)
        super().setUp()
        self.assertEqual(self.key_labels(), set())
        self.before = self.enrolled("--label", LABEL) if story.before else None
        self.posts_before = len(self.stack.requests("/register"))
        if story.switches():
            self.stack.switches(**story.switches())

    def come_to_rest(self, unfinished=frozenset(UNFINISHED)):
        def rests():
            return not unfinished & {state for one in self.generations().values() for state in one.values()}
        wait_for(rests, "the daemon to finish what was interrupted")

    def generations(self):
        """Of all records, as they are on disk: {id: {number: state}}."""
        read = self.stack.spawn(SERVICE, ["/usr/bin/python3", "-c", GENERATIONS, f"{self.stack.state}/smartkeyd.db"],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        out, _ = read.communicate(timeout=60)
        self.assertEqual(read.returncode, 0)
        found = {}
        for registration, number, state in json.loads(out):
            found.setdefault(registration, {})[number] = STATES[state]
        return found

    def key_labels(self):
        """REGISTRATION:GENERATION of all keys in the token, private halves and public ones."""
        return set(re.findall(r"label:\s+smartkeyd:[^:\s]+:(\S+)", self.stack.hardware.objects()))

    def told(self, story):
        """The passages of crash points when nothing interrupts it."""
        self.prepare(story)
        self.stack.order("trace")
        story.tell(self)
        self.come_to_rest()
        return self.stack.trace()

    def interrupt(self, story, passage, order_for_the_start=None):
        """Kills the daemon there, and starts another, which that order may kill in turn. Returns what smartkeyctl
        said."""
        self.prepare(story)
        daemon = self.stack.processes["smartkeyd"]
        self.stack.order("kill {} {}".format(*passage))
        said = story.tell(self)
        wait_for(lambda: daemon.poll() is not None, f"the crash point {passage}\n{said}")
        self.assertEqual(daemon.returncode, -signal.SIGKILL)
        self.stack.processes.pop("smartkeyd")
        self.stack.switches(**story.switches_off())
        self.stack.order(order_for_the_start)
        self.stack.start_daemon(wait=order_for_the_start in (None, "trace"))
        return said

    def check(self, story, said, passed, may_be_stray=False):
        self.come_to_rest()
        generations = self.generations()
        story.check(self, generations, said, passed)
        self.assertLessEqual(len(self.stack.requests("/register")) - self.posts_before, story.posts)
        if not generations:
            self.assertNotIn(LABEL.encode(), self.state_bytes())

        registrations = self.registrations()
        self.assertEqual({r["id"] for r in registrations}, set(generations))
        for registration in registrations:
            token = self.stack.ctl(ALICE, "token", registration["id"])
            if "ACTIVE" in generations[registration["id"]].values():
                self.assertEqual(token.code, 0, str(token))
                read = self.stack.fhir_get(f"Patient/{story.patient}", token.out.strip())
                self.assertEqual(read["id"], story.patient)
            else:
                self.assertEqual((token.code, token.out), (4, ""))
            if story.before:
                for field in ("name", "label", "app", "server"):
                    self.assertEqual(registration.get(field), self.before.get(field))

        labels = self.key_labels()
        needed = {f"{i}:{number}" for i, one in generations.items() for number, state in one.items()
                  if state == "ACTIVE"}
        self.assertLessEqual(needed, labels)
        stored = self.stack.ctl("root", "--json", "keys", "--all").json()["stored"]
        strays = {key["label"].partition(":")[2].partition(":")[2] for key in stored["keys"] if key["stray"]}
        self.assertEqual(strays, labels - needed)
        self.assertLessEqual(len(strays), 1 if may_be_stray else 0, f"{strays} of {labels}")
        for label in strays:
            self.stack.hardware.delete_key(label)

        if story.before and generations:
            renewed = self.stack.enroll(ALICE, command="renew")
            self.assertEqual(renewed.code, 0, str(renewed))
        for registration in registrations:
            self.assertEqual(self.stack.ctl(ALICE, "delete", registration["id"], "--yes").code, 0)
        self.enrolled()


__all__ = ["ALICE", "SERVER", "STORIES", "CrashTest", "all_crash_points", "wait_for"]
