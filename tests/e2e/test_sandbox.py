# SPDX-License-Identifier: Apache-2.0
"""smartkey-sandbox: what an app's own tests run in."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import unittest

from stack import ALICE, ROOT, SERVER, wait_for

BINARIES = os.environ.get("SMARTKEY_BINARIES", os.path.join(ROOT, "build/release"))


class Sandbox(unittest.TestCase):
    def setUp(self):
        # As installed, where an ordinary user may read it.
        self.dir = tempfile.mkdtemp(prefix="smartkey-sandbox-test-")
        self.addCleanup(shutil.rmtree, self.dir)
        os.chmod(self.dir, 0o755)
        for folder in ("sandbox", "tests/e2e", "tests/ehr"):
            shutil.copytree(f"{ROOT}/{folder}", f"{self.dir}/{folder}", ignore=shutil.ignore_patterns("__pycache__"))
        for program in ("daemon/app/smartkeyd", "clients/ctl/smartkeyctl"):
            os.makedirs(os.path.dirname(f"{self.dir}/{program}"))
            shutil.copy(f"{BINARIES}/{program}", f"{self.dir}/{program}")
        self.temporary = f"{self.dir}/tmp"
        os.mkdir(self.temporary)
        os.chown(self.temporary, pwd.getpwnam(ALICE).pw_uid, -1)

    def begin(self, *args, user=ALICE, **options):
        entry = pwd.getpwnam(user)
        return subprocess.Popen(
            ["/usr/bin/python3", "-B", f"{self.dir}/sandbox/smartkey-sandbox", "run", "--binaries", self.dir, *args],
            user=entry.pw_uid, group=entry.pw_gid, extra_groups=[], cwd="/", text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            # As from a terminal, also where the tests themselves run in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            env={"PATH": f"{self.dir}/clients/ctl:/usr/bin:/bin", "TMPDIR": self.temporary},
            **{"stdin": subprocess.DEVNULL, **options})

    def run_in_sandbox(self, *args, user=ALICE):
        process = self.begin(*args, user=user)
        out, _ = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out)

    def processes(self):
        """Those that have to do with what is in the temporary directory."""
        return subprocess.run(["pgrep", "-f", self.temporary], check=False, text=True, stdout=subprocess.PIPE).stdout

    def test_ACommand_HasARegistrationToUse_AndNothingIsLeft(self):
        done = self.run_in_sandbox(
            "--", "sh", "-c", 'smartkeyctl token "$SMARTKEY_SANDBOX_REGISTRATION" --header | '
            'curl -fsS -H @- "$SMARTKEY_SANDBOX_FHIR_BASE/Patient/pat-1"; exit 7')
        self.assertIn('"resourceType"', done.stdout)
        self.assertEqual(done.returncode, 7, done)
        self.assertEqual(os.listdir(self.temporary), [])
        self.assertEqual(self.processes(), "")

    def test_TheTerminalInterruptsIt_TheCommandEndsAsItLikesAndHasItsSmartkeydMeanwhile(self):
        command = "trap 'smartkeyctl version; exit 3' INT; echo begun; read -r never"
        process = self.begin("--", "sh", "-c", command, stdin=subprocess.PIPE, start_new_session=True)
        self.assertEqual(process.stdout.readline(), "begun\n")
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        out, _ = process.communicate(timeout=300)
        self.assertEqual(process.returncode, 3, out)
        self.assertIn("smartkeyd", out)

    def test_ItIsKilled_NoPartOfItGoesOn(self):
        process = self.begin("--no-enroll", "--", "sh", "-c", "echo begun; read -r never", stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), "begun\n")
        process.kill()
        process.communicate()
        wait_for(lambda: self.processes() == "", "all of it to end")

    def test_AnAppThatEnrollsByItself_CanDoSo(self):
        done = self.run_in_sandbox(
            "--no-enroll", "--", "sh", "-c",
            'smartkeyctl enroll sandbox --no-browser 2>&1 </dev/null | while read -r line; do case $line in '
            'http*) "$SMARTKEY_SANDBOX_LOGIN" "$line" --follow >&2 & ;; esac; done; smartkeyctl list')
        self.assertEqual(done.returncode, 0, done)
        self.assertRegex(done.stdout, rf"(?m)^{SERVER} +working")

    def test_Root_IsToldWhyNot(self):
        done = self.run_in_sandbox("--", "true", user="root")
        self.assertEqual(done.returncode, 125)
        self.assertIn("not as root", done.stdout)


if __name__ == "__main__":
    unittest.main()
