#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Stores what a release leaves on disk: its database and the TPM whose keys it refers to.

    sudo tests/e2e/make_fixture.py --binaries build/release tests/fixtures/0.1.0/daemon

Run once for each release; test_upgrade.py starts every later version on it.
"""

import argparse
import os
import shutil
import sqlite3
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from stack import ALICE, Stack  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binaries")
    parser.add_argument("out")
    options = parser.parse_args()
    os.makedirs(options.out)
    with Stack(options.binaries) as stack:
        stack.start()
        for args in (("--name", "es384"), ("--name", "rs256", "--algorithm", "RS256", "--label", "a label")):
            result = stack.enroll(ALICE, *args)
            if result.code != 0:
                sys.exit(str(result))
        stack.stop("smartkeyd")
        stack.hardware.stop()
        database = os.path.join(options.out, "smartkeyd.db")
        with sqlite3.connect(os.path.join(stack.state, "smartkeyd.db")) as live, sqlite3.connect(database) as copy:
            live.backup(copy)  # with what is still in the write-ahead log
        shutil.copytree(stack.hardware.dir, os.path.join(options.out, "swtpm"),
                        ignore=lambda _, names: [n for n in names if "sock" in n or n.startswith(".")])


if __name__ == "__main__":
    main()
