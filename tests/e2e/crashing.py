# SPDX-License-Identifier: Apache-2.0
"""A stack whose daemon can be killed, or stopped, at each of its crash points (base/crash_point.h)."""

import glob
import os
import re
import signal

from hardware import Token
from stack import ALICE, ROOT, SERVER, SERVICE, Stack, wait_for
from story import StackTest

UNFINISHED = {"PENDING", "REGISTERING", "VERIFYING", "DELETING"}

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

    def switches(self):
        """What the hospital does differently."""
        return {}

    def switches_off(self):
        """As it does otherwise."""
        return {}

    def tell(self, test):
        """Does it, and returns what smartkeyctl said."""
        raise NotImplementedError


class Enrollment(Story):
    name = "enrollment"

    def tell(self, test):
        return test.stack.enroll(ALICE, "--label", LABEL)


class Refused(Enrollment):
    """The server refuses the registration: nothing stays."""

    name = "refused enrollment"

    def switches(self):
        return {"registration_error": {"status": 400, "error": "invalid_client_metadata"}}

    def switches_off(self):
        return {"registration_error": None}


class Lost(Enrollment):
    """Both answers of the server are lost: the record stays and says so."""

    name = "lost enrollment"
    posts = 2

    def switches(self):
        return {"drop_after": {"register": {"value": True, "times": 2}}}

    def switches_off(self):
        return {"drop_after": {"register": None}}


class Renewal(Story):
    name = "renewal"
    before = True

    def tell(self, test):
        return test.stack.enroll(ALICE, command="renew")


class OtherPatient(Renewal):
    """A renewal that comes back for somebody else: the old generation goes on."""

    name = "renewal for another patient"

    def tell(self, test):
        return test.stack.enroll(ALICE, command="renew", patient="pat-2")


class Deletion(Story):
    name = "deletion"
    before = True
    posts = 0

    def tell(self, test):
        return test.stack.ctl(ALICE, "delete", test.before["id"], "--yes")


class CrashTest(StackTest):
    """Whatever a story was interrupted by, afterwards:

    - the daemon starts, and comes to rest;
    - what smartkeyctl reported is so: nothing that was enrolled is missing, nothing that was deleted is there;
    - what was there before is there still, unless it was deleted, and serves its own patient;
    - what is offered gives tokens, what does not is not offered;
    - the server got no more registrations than the story needs;
    - the token holds the keys of records, and no other; only a kill between the making of a key and its being
      written down may leave one, which is then shown as a stray;
    - a new enrollment works.
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

    def come_to_rest(self):
        def rests():
            registrations = self.registrations()
            return not UNFINISHED & {r["state"] for r in registrations} and not self.retired(registrations)
        wait_for(rests, "the daemon to finish what was interrupted")

    def retired(self, registrations):
        """Generations in the token that a renewal has put an end to."""
        return {label for label in self.key_labels() for r in registrations
                if r["state"] == "ACTIVE" and label.startswith(f"{r['id']}:")
                and int(label.rpartition(":")[2]) < self.generation(r)}

    def generation(self, registration):
        return registration["generation"]["number"] if "generation" in registration else 1

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

    def interrupt(self, story, passage):
        """Kills the daemon there, and starts another. Returns what smartkeyctl said."""
        self.prepare(story)
        daemon = self.stack.processes["smartkeyd"]
        self.stack.order("kill {} {}".format(*passage))
        said = story.tell(self)
        wait_for(lambda: daemon.poll() is not None, f"the crash point {passage}\n{said}")
        self.assertEqual(daemon.returncode, -signal.SIGKILL)
        self.stack.order(None)
        self.stack.processes.pop("smartkeyd")
        self.stack.switches(**story.switches_off())
        self.stack.start_daemon()
        return said

    def check(self, story, said, may_be_stray=False):
        self.come_to_rest()
        registrations = self.registrations()
        ids = {r["id"] for r in registrations}
        posts = len(self.stack.requests("/register")) - self.posts_before
        self.assertLessEqual(posts, story.posts)
        if isinstance(story, Deletion):
            if said.code == 0:
                self.assertEqual(ids, set())
        elif story.before:
            self.assertEqual(ids, {self.before["id"]})
            (registration,) = registrations
            for field in ("name", "label", "app_id", "server"):
                self.assertEqual(registration.get(field), self.before.get(field))
        if said.code == 0 and not isinstance(story, Deletion):
            self.assertEqual([r["state"] for r in registrations], ["ACTIVE"])
        if not ids:
            self.assertNotIn(LABEL.encode(), self.state_bytes())

        for registration in registrations:
            token = self.stack.ctl(ALICE, "token", registration["id"])
            if token.code == 0:
                read = self.stack.fhir_get(f"Patient/{story.patient}", token.out.strip())
                self.assertEqual(read["id"], story.patient)
            else:
                self.assertEqual(token.out, "")
                self.assertFalse(story.before, "what served before serves no more")
                self.assertEqual(registration["state"], "ORPHANED")

        labels = self.key_labels()
        needed = {label for label in labels if label.partition(":")[0] in ids}
        stored = self.stack.ctl("root", "--json", "keys", "--all").json()["stored"]
        shown = {key["label"].partition(":")[2].partition(":")[2] for key in stored["keys"] if key["stray"]}
        self.assertEqual(len(needed - shown), sum(r["state"] != "ORPHANED" for r in registrations))
        self.assertEqual(shown, labels - (needed - shown))
        self.assertLessEqual(len(shown), 1 if may_be_stray else 0, f"{shown} of {labels}")
        for label in shown:
            self.stack.hardware.delete_key(label)

        for registration in registrations:
            self.assertEqual(self.stack.ctl(ALICE, "delete", registration["id"], "--yes").code, 0)
        self.enrolled()


__all__ = ["ALICE", "SERVER", "CrashTest", "Enrollment", "Refused", "Lost", "Renewal", "OtherPatient", "Deletion",
           "all_crash_points", "wait_for"]
