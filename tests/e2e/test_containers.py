# SPDX-License-Identifier: Apache-2.0
"""Processes in containers, for which `unshare` stands in: with a user namespace of their own as rootless containers
have one, with only a pid namespace as those of a root's docker, and with both."""

import os
import pwd
import subprocess
import unittest

from stack import ALICE, BOB, SERVER, Result
from story import StackTest

HERS = f"{ALICE}/{SERVER}"
ROOTLESS = ["--user", "--map-root-user"]
BOTH = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
ROOTFUL = ["--pid", "--fork", "--kill-child"]
KINDS = {"user namespace": ROOTLESS, "user and pid namespace": BOTH, "pid namespace": ROOTFUL}


class Containers(StackTest):
    def inside(self, flags, user, *args):
        """smartkeyctl in a container that `user` runs, or that root runs with the image's USER being that one's."""
        command = self.stack.ctl_args(user, args)
        starter = user
        if flags == ROOTFUL:
            entry = pwd.getpwnam(user)
            starter = "root"
            command = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", *command]
        process = self.stack.spawn(starter, ["unshare", *flags, *command], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = process.communicate(timeout=60)
        return Result(["smartkeyctl", *args], process.returncode, out, err)

    def test_TheOwnersUidInside_IsNotTheOwner(self):
        registration = self.enrolled()
        self.token()
        for kind, flags in KINDS.items():
            with self.subTest(kind):
                for args in (("token", SERVER), ("assertion", SERVER), ("show", registration["id"]), ("list",),
                             ("delete", SERVER, "--yes"), ("enroll", SERVER, "--no-browser")):
                    self.assert_refused(self.inside(flags, ALICE, *args), 3, "container")
        self.token()

    def test_AShareForTheUidAsTheHostSeesIt_ReachesIt(self):
        self.enrolled()
        uid = pwd.getpwnam(BOB).pw_uid
        for kind, flags in KINDS.items():
            with self.subTest(kind):
                self.assert_refused(self.inside(flags, BOB, "token", HERS), 3, "container")
                self.assertEqual(self.stack.ctl(ALICE, "share", SERVER, f"uid:{uid}").code, 0)
                token = self.inside(flags, BOB, "token", HERS)
                self.assertEqual(token.code, 0, str(token))
                self.secrets.add(token.out.strip())
                self.assertEqual(self.stack.fhir_get("Patient/pat-1", token.out.strip())["id"], "pat-1")
                why = self.inside(flags, BOB, "explain", HERS)
                self.assertIn("in a container", why.out)
                refused = self.inside(flags, BOB, "request", HERS, "--allow", "jwt", "--no-wait")
                self.assert_refused(refused, 3, "container")
                self.assertEqual(self.stack.ctl(ALICE, "unshare", SERVER, f"uid:{uid}").code, 0)
                self.assert_refused(self.inside(flags, BOB, "token", HERS), 3, "container")

    def test_TheContainersRoot_IsNoAdministrator(self):
        self.enrolled()
        process = subprocess.run(
            ["unshare", *ROOTFUL, *self.stack.ctl_args("root", ["status"])], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(process.returncode, 3, process)
        self.assertIn("container", process.stderr)
        mine = subprocess.run(
            ["unshare", *ROOTFUL, *self.stack.ctl_args("root", ["token", HERS, "--public"])],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(mine.returncode, 3, mine)

    def test_TheSocketSurvivesARestartWhereItsDirectoryIsMounted(self):
        """What docs/containers.md says to mount: the directory, since the daemon makes the socket's file anew."""
        self.enrolled()
        self.assertEqual(self.stack.ctl(ALICE, "share", SERVER, f"user:{BOB}").code, 0)
        inside = os.path.join(self.stack.dir, "inside")
        os.makedirs(inside, exist_ok=True)
        entry = pwd.getpwnam(BOB)
        ctl = self.stack.ctl_args(BOB, [])[0]
        script = (f"mount --bind {os.path.dirname(self.stack.socket)} {inside} && echo mounted && read go && "
                  f"exec setpriv --reuid={entry.pw_uid} --regid={entry.pw_gid} --clear-groups "
                  f"{ctl} --socket {inside}/{os.path.basename(self.stack.socket)} token {HERS}")
        container = self.stack.spawn("root", ["unshare", "--mount", *ROOTFUL, "sh", "-c", script],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(container.kill)
        self.assertEqual(container.stdout.readline(), "mounted\n")
        self.stack.kill_daemon()
        self.stack.start_daemon()
        out, err = container.communicate("go\n", timeout=60)
        self.assertEqual(container.returncode, 0, err)
        self.secrets.add(out.strip())
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", out.strip())["id"], "pat-1")


class OnAnOlderKernel(Containers):
    """The same where the kernel cannot hold a caller's process (before 6.5)."""

    config = {"extra": "[access]\npeer_pidfd = false\n"}


if __name__ == "__main__":
    unittest.main()
