# SPDX-License-Identifier: Apache-2.0
"""smartkeyd under systemd as the first process, in a container with a throw-away copy of this machine's files: what
service_manager.py stands in for otherwise. The stories are in booted.py. By scripts/test --deep, as root: it needs systemd-nspawn and overlayfs, so a
machine or container that may mount and boot.

    /usr/bin/python3 -B tests/e2e/under_systemd.py"""

import os
import shutil
import subprocess
import tempfile
import unittest

from stack import ROOT

HERE = os.path.dirname(os.path.abspath(__file__))

UNIT = """
[Unit]
Description=the test
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
Environment=PYTHONUNBUFFERED=1
ExecStart=/usr/bin/python3 -B {here}/booted.py {binaries} {binaries}/systemd-units
StandardOutput=file:/result
StandardError=file:/result
TimeoutStartSec=240
"""


class Booted(unittest.TestCase):
    def test_UnderItsUnit_EachStoryHolds(self):
        binaries = os.environ.get("SMARTKEY_BINARIES", os.path.join(ROOT, "build/release"))
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
            file.write(UNIT.format(here=HERE, binaries="/binaries"))
        os.makedirs(f"{units}/smartkey-test.target.wants", exist_ok=True)
        with open(f"{units}/smartkey-test.target", "w", encoding="utf-8") as file:
            file.write("[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n")
        os.symlink("../smartkey-test.service", f"{units}/smartkey-test.target.wants/smartkey-test.service")
        place = os.path.join(root, "binaries")
        for program in ("daemon/app/smartkeyd", "clients/ctl/smartkeyctl"):
            os.makedirs(os.path.dirname(f"{place}/{program}"), exist_ok=True)
            shutil.copy(f"{binaries}/{program}", f"{place}/{program}")
        os.mkdir(f"{place}/systemd-units")
        for unit in ("smartkeyd.socket", "smartkeyd-admin.socket"):
            shutil.copy(f"{ROOT}/systemd/{unit}", f"{place}/systemd-units")
        shutil.copy(f"{binaries}/systemd/smartkeyd.service", f"{place}/systemd-units")
        ended = subprocess.run(
            ["systemd-nspawn", "--quiet", "-D", root, "--boot", "--register=no", "--keep-unit", "--private-network",
             "--system-call-filter=@memlock",  # which a machine allows anyway
             "--console=pipe", f"--machine=smartkey-{os.getpid()}", f"--bind-ro={ROOT}", "--", "--unit=smartkey-test.target"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=400, check=False)
        said = ended.stdout.decode(errors="replace")[-4000:]
        self.assertTrue(os.path.exists(f"{root}/result"), said)
        with open(f"{root}/result", encoding="utf-8") as file:
            result = file.read()
        print(result)
        self.assertRegex(result, r"\nOK \d+ s\n$", f"{result}\n{said}")
        self.assertEqual(result.count("no token request"), 11)


if __name__ == "__main__":
    unittest.main()
