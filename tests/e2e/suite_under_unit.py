# SPDX-License-Identifier: Apache-2.0
"""Runs inside a container whose first process is systemd (under_systemd.py): the end-to-end tests, whose smartkeyd is a service
under the unit that is installed, in its sandbox. Arguments: the unit's file, and names of tests where not all are meant."""

import glob
import os
import sys
import unittest

from stack import SERVICE, Stack
from unit_process import UnitProcess

HERE = os.path.dirname(os.path.abspath(__file__))

# What cannot be so here, and why.
LEFT_OUT = {
    "test_kept_tokens": "plays systemd itself; booted.py has the same on the real one",
    "test_watchdog": "plays systemd itself, too",
    "test_disk_faults": "mounts an image of its own through a loop device, which a container has not",
    "test_conformance_hygiene.Hygiene.test_item_56_ACrashLeavesNoCoreFile": "asks for what a parent is told by wait(2)",
    "test_conformance_hygiene.LockedMemory":
        "gives smartkeyd a right that the unit does not; the unit's own limit is looked at in the virtual machine",
    "test_store.DirectoryThatCannotBeUsed.test_ReadOnlyAtStart_ItStartsAndGoesOnWhenItIsWritable":
        "remounts; a service keeps the mounts that there were when it started (docs/store.md)",
    "test_sandbox": "starts smartkeyd by itself, as an app's developer does",
}


def tests_of(suite):
    for one in suite:
        if isinstance(one, unittest.TestSuite):
            yield from tests_of(one)
        else:
            yield one


def main():
    unit, *names = sys.argv[1:]
    Stack.make_daemon = lambda stack: UnitProcess(stack, unit, SERVICE)
    os.chdir(HERE)
    names = names or [os.path.splitext(name)[0] for name in sorted(glob.glob("test_*.py"))]
    tests = [test for test in tests_of(unittest.defaultTestLoader.loadTestsFromNames(names))
             if not any(test.id().startswith(left_out) for left_out in LEFT_OUT)]
    for left_out, why in LEFT_OUT.items():
        print(f"left out: {left_out}, which {why}")
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(unittest.TestSuite(tests))
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
