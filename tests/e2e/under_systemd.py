# SPDX-License-Identifier: Apache-2.0
"""smartkeyd under systemd as the first process, in a container with a throw-away copy of this machine's files: what
service_manager.py stands in for otherwise. The stories are in booted.py; suite_under_unit.py runs the end-to-end tests with the
daemon in the unit's sandbox. By scripts/test --deep, as root: it needs systemd-nspawn and overlayfs, so a machine or container
that may mount and boot.

    /usr/bin/python3 -B tests/e2e/under_systemd.py [Booted.test_NAME]

SMARTKEY_TESTS: names of end-to-end tests, for instance "test_tpm test_owner.Owner", where not all are meant."""

import os
import shutil
import subprocess
import tempfile
import unittest

from stack import ROOT

HERE = os.path.dirname(os.path.abspath(__file__))
BINARIES = os.environ.get("SMARTKEY_BINARIES", os.path.join(ROOT, "build/release"))

UNIT = """
[Unit]
Description=the test
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
Environment=PYTHONUNBUFFERED=1 SMARTKEY_BINARIES={binaries}
ExecStart=/usr/bin/python3 -B {here}/{command}
StandardOutput=file:/result
StandardError=file:/result
TimeoutStartSec={patience}
"""


class Booted(unittest.TestCase):
    def boot(self, command, patience):
        """What that says, run by a systemd with the units of the tree below /units."""
        directory = tempfile.mkdtemp(prefix="smartkey-booted-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        root, upper, work = (os.path.join(directory, name) for name in ("root", "upper", "work"))
        for path in (root, upper, work):
            os.mkdir(path)
        subprocess.run(["mount", "-t", "overlay", "overlay", root, "-o",
                        f"lowerdir=/,upperdir={upper},workdir={work}"], check=True)
        self.addCleanup(subprocess.run, ["umount", root], check=True)
        units = os.path.join(root, "etc/systemd/system")
        with open(f"{units}/smartkey-test.service", "w", encoding="utf-8") as file:
            file.write(UNIT.format(here=HERE, binaries=BINARIES, command=command, patience=patience))
        os.makedirs(f"{units}/smartkey-test.target.wants", exist_ok=True)
        with open(f"{units}/smartkey-test.target", "w", encoding="utf-8") as file:
            file.write("[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n")
        os.symlink("../smartkey-test.service", f"{units}/smartkey-test.target.wants/smartkey-test.service")
        os.mkdir(f"{root}/units")
        for unit in ("smartkeyd.socket", "smartkeyd-admin.socket"):
            shutil.copy(f"{ROOT}/systemd/{unit}", f"{root}/units")
        shutil.copy(f"{BINARIES}/systemd/smartkeyd.service", f"{root}/units")
        ended = subprocess.run(
            ["systemd-nspawn", "--quiet", "-D", root, "--boot", "--register=no", "--keep-unit", "--private-network",
             "--system-call-filter=@memlock",  # which a machine allows anyway
             "--console=pipe", f"--machine=smartkey-{os.getpid()}", f"--bind-ro={ROOT}", f"--bind-ro={BINARIES}", "--",
             "--unit=smartkey-test.target"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=patience + 160, check=False)
        said = ended.stdout.decode(errors="replace")[-4000:]
        self.assertTrue(os.path.exists(f"{root}/result"), said)
        with open(f"{root}/result", encoding="utf-8") as file:
            result = file.read()
        print(result)
        return result, said

    def test_UnderItsUnit_EachStoryHolds(self):
        result, said = self.boot(f"booted.py {BINARIES} /units", patience=240)
        self.assertRegex(result, r"\nOK \d+ s\n$", f"{result}\n{said}")
        self.assertEqual(result.count("no token request"), 11)

    def test_UnderItsUnit_TheEndToEndTestsPass(self):
        result, said = self.boot(f"suite_under_unit.py /units/smartkeyd.service {os.environ.get('SMARTKEY_TESTS', '')}",
                                 patience=5400)
        self.assertRegex(result, r"\nRan [1-9]\d* tests? in ", said)
        self.assertRegex(result, r"\nOK( \(skipped=\d+\))?\n$", said)


if __name__ == "__main__":
    unittest.main()
