#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Item 64 of docs/conformance.md: tokens of a few seconds, several users at once, and faults all the while. Afterwards
smartkeyd has no more descriptors, threads and memory than after its first minutes, and has asked for no more tokens than
their lifetimes and the faults explain.

  long_run.py --minutes 15     as root; SMARTKEY_BINARIES says where the programs are
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from stack import ALICE, BOB, SERVER, Failed, Stack, wait_for  # noqa: E402

LIFETIME = 10       # seconds that a token lives
CALLERS = 6
WARM_UP = 0.2       # of the run, before what is held is looked at
SAMPLE_EVERY = 5
RESTART_EVERY = 60  # seconds between restarts of the TPM
# More than before: what is open by chance. One thing lost at each restart, or at each fault of one kind, is more.
MOST_DESCRIPTORS = 2
MOST_THREADS = 1
MOST_MEGABYTES = 4
# Of its life, after which a token is replaced while it is asked for; a random part in between.
REFRESHED_FROM, REFRESHED_TO = 1 / 2, 2 / 3

FAULTS = (
    {"token_error": {"error": "server_error", "status": 500, "times": 2}},
    {"token_error": {"error": "temporarily_unavailable", "status": 503, "retry_after": 2, "times": 1}},
    {"token_error": {"error": "invalid_grant", "times": 1}},
    {"drop_before": {"token": {"value": True, "times": 1}}},
    {"drop_after": {"token": {"value": True, "times": 1}}},
    {"delay_ms": {"token": {"value": 1500, "times": 2}}},  # which is no failure
    {"token_answer": {"value": "malformed", "times": 1}},
    {"token_answer": {"value": "html", "times": 1}},
)


def failures_of(fault):
    """How many token requests more it costs at most."""
    (kind, how), = fault.items()
    return 0 if kind == "delay_ms" else how.get("token", how)["times"]


class Held:
    """What the process has, now and then."""

    def __init__(self, pid):
        self.pid = pid
        self.samples = []

    def take(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            status = dict(line.split(":", 1) for line in file)
        self.samples.append((len(os.listdir(f"/proc/{self.pid}/fd")), int(status["Threads"]),
                             int(status["VmRSS"].split()[0]) / 1024))

    def between(self, begin, end):
        """The least of descriptors and threads, since calls under way have some; of memory the usual."""
        some = self.samples[int(len(self.samples) * begin):int(len(self.samples) * end)]
        descriptors, threads, memory = zip(*some)
        return min(descriptors), min(threads), statistics.median(memory)


class Callers:
    """Users who ask for tokens, watch, and look at what there is, until they are told to stop."""

    def __init__(self, stack):
        self.stack = stack
        self.over = threading.Event()
        self.calls = 0
        self.tokens = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(CALLERS)]

    def run(self, number):
        user = (ALICE, BOB)[number % 2]
        name = SERVER if user == ALICE else f"{ALICE}/{SERVER}"
        turn = number
        while not self.over.is_set():
            turn += 1
            if turn % 17 == 0:
                result = self.stack.ctl(user, "list")
            elif turn % 29 == 0 and user == ALICE:
                result = self.stack.ctl(user, "edit", SERVER, "--label", f"turn {turn}")
            else:
                result = self.stack.ctl(user, "token", name)
            with self.lock:
                self.calls += 1
                self.tokens += result.code == 0 and len(result.out.strip()) > 20
            self.over.wait(0.05)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def check(holds, what):
    if not holds:
        raise Failed(f"does not hold: {what}")
    print(f"ok: {what}", flush=True)


def check_audit(stack, took):
    """Whole, with a checkpoint that the hardware has signed and that was sent out, of which there is one in 15 minutes."""

    def verified():
        return stack.ctl("root", "--json", "audit", "--verify").json()

    def with_checkpoint():
        found = verified()
        return found if found["signed_checkpoints"] >= 1 else None

    found = wait_for(with_checkpoint, "a signed checkpoint", patience=max(0, 15 * 60 - took) + 180)
    heads = re.findall(r"audit_head=(\S+) key=(\S+)", stack.read_log())
    signed = [(head, key) for head, key in heads if key != "none"]
    check(signed, f"{len(signed)} of {len(heads)} heads of the audit log were sent out with a signature")
    head, key = signed[-1]
    check(key in str(found["key_thumbprints"]), "by the key that the log names")
    check(stack.ctl("root", "audit", "--verify", "--anchor", head).code == 0, "the audit log is whole up to it")


def run(stack, minutes):
    stack.start()
    stack.switches(access_token_ttl=LIFETIME)
    check(stack.enroll(ALICE).code == 0, "enrolled")
    check(stack.ctl(ALICE, "share", SERVER, f"user:{BOB}").code == 0, "shared")
    held = Held(stack.daemon_pid())
    begun = time.monotonic()
    end = begun + 60 * minutes
    asked_before = len(stack.token_requests())
    faults = restarts = failures = 0
    watcher = stack.spawn(ALICE, stack.ctl_args(ALICE, ["--json", "watch"]), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        with Callers(stack) as callers:
            next_fault = begun + 10
            next_reboot = begun + RESTART_EVERY
            while time.monotonic() < end:
                time.sleep(SAMPLE_EVERY)
                held.take()
                if time.monotonic() >= next_fault:
                    stack.switches(**FAULTS[faults % len(FAULTS)])
                    failures += failures_of(FAULTS[faults % len(FAULTS)])
                    faults += 1
                    next_fault += 12
                if time.monotonic() >= next_reboot:
                    stack.hardware.reboot()
                    restarts += 1
                    next_reboot += RESTART_EVERY
    finally:
        watcher.kill()
        watcher.wait()
    took = time.monotonic() - begun
    asked = len(stack.token_requests()) - asked_before
    before, after = held.between(WARM_UP, 2 * WARM_UP), held.between(1 - WARM_UP, 1)
    print(f"{minutes} minutes, {callers.calls} calls of {CALLERS} callers, {callers.tokens} tokens, {faults} faults, "
          f"{restarts} reboots of the TPM, {asked} token requests")
    for name, one, other, most in zip(("descriptors", "threads", "MB"), before, after,
                                      (MOST_DESCRIPTORS, MOST_THREADS, MOST_MEGABYTES)):
        check(other - one <= most, f"{name}: {one:.0f} after the first minutes, {other:.0f} at the end")
    check(callers.tokens > callers.calls / 3, f"{callers.tokens} of {callers.calls} calls gave a token")
    # One key of the cache. Where the server does not answer, a token may live to its end.
    least = took / LIFETIME
    most = took / (LIFETIME * REFRESHED_FROM) + failures + restarts
    check(least <= asked <= most, f"{asked} token requests; {took / (LIFETIME * REFRESHED_TO):.0f} to "
          f"{took / (LIFETIME * REFRESHED_FROM):.0f}, and {failures} for the faults, are explained")
    stack.switches(token_error=None, token_answer=None,
                   **{name: {"token": None} for name in ("drop_before", "drop_after", "delay_ms")})
    wait_for(lambda: stack.ctl(ALICE, "token", SERVER).code == 0, "a token once more")
    check_audit(stack, took)
    state = stack.ctl(ALICE, "--json", "list").json()["registrations"][0]["state"]
    check(state in ("ACTIVE", "SUSPECT"), f"the registration is {state}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    options = parser.parse_args()
    try:
        with Stack() as stack:
            try:
                run(stack, options.minutes)
            except Failed:
                print(stack.read_log()[-20000:], file=sys.stderr)
                raise
    except Failed as failure:
        print(f"long run: {failure}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
