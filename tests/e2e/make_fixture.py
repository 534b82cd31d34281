#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stores what a release leaves on disk: its database and the hardware whose keys it refers to.

    sudo tests/e2e/make_fixture.py --binaries build/release tests/fixtures/unreleased/daemon
    sudo tests/e2e/make_fixture.py --binaries build/release --hardware pkcs11 tests/fixtures/0.2.0/daemon_pkcs11

Run once for each release, and for each schema of the database before it is released; test_upgrade.py starts every
later version on it. es384 is shared with a user and a group, and another user was told no; paused is suspended.
"""

import argparse
import json
import os
import sqlite3
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hardware import Token, Tpm  # noqa: E402
from stack import ALICE, BOB, Stack  # noqa: E402

# The hardware, and the folder for what it stores.
KINDS = {"tpm": (Tpm, "swtpm"), "pkcs11": (Token, "softhsm")}


def must(result):
    if result.code != 0:
        sys.exit(str(result))
    return result


def fill(stack):
    for args in (("--name", "es384"), ("--name", "rs256", "--algorithm", "RS256", "--label", "a label"),
                 ("--name", "paused")):
        must(stack.enroll(ALICE, *args))
    must(stack.ctl(ALICE, "share", "es384", f"user:{BOB}", "--scope", "patient/*.rs"))
    must(stack.ctl(ALICE, "share", "es384", "group:mail", "--for", "365d"))
    asked = must(stack.ctl("lp", "--json", "request", f"{ALICE}/es384", "--no-wait"))
    must(stack.ctl(ALICE, "deny", json.loads(asked.out.splitlines()[0])["answer"]["request_id"]))
    must(stack.ctl(ALICE, "suspend", "paused", "--why", "lost laptop"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries")
    parser.add_argument("--hardware", choices=KINDS, default="tpm")
    parser.add_argument("out")
    options = parser.parse_args()
    kind, folder = KINDS[options.hardware]
    state = os.path.join(options.out, "state")
    os.makedirs(state)
    with Stack(options.binaries, hardware=kind) as stack:
        stack.start()
        fill(stack)
        stack.stop("smartkeyd")
        database = os.path.join(state, "smartkeyd.db")
        with sqlite3.connect(os.path.join(stack.state, "smartkeyd.db")) as live, sqlite3.connect(database) as copy:
            live.backup(copy)  # with what is still in the write-ahead log
        stack.hardware.save(os.path.join(options.out, folder))


if __name__ == "__main__":
    main()
