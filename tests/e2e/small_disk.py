# SPDX-License-Identifier: Apache-2.0
"""File systems that can be filled, or fail, under a directory of a Stack. Need the right to mount."""

import contextlib
import os
import pwd
import subprocess
import time


class SmallDisk:
    """A tmpfs over `directory`, `user`'s alone."""

    def __init__(self, directory, user, megabytes=4):
        self.directory = directory
        self._user = pwd.getpwnam(user)
        self._megabytes = megabytes
        self._filler = os.path.join(directory, "filler")
        self.mount()

    def mount(self):
        self._run("mount", "-t", "tmpfs", "-o", f"size={self._megabytes}m,mode=700,uid={self._user.pw_uid},"
                  f"gid={self._user.pw_gid}", "tmpfs", self.directory)

    def close(self):
        """Also while something still uses it."""
        self._run("umount", "--lazy", self.directory)

    def fill(self):
        """To the last byte."""
        with open(self._filler, "wb", 0) as file:
            for size in (65536, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(b"\0" * size)

    def free(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._filler)

    def set_read_only(self, read_only=True):
        """Only while nobody has a file open for writing."""
        self._run("mount", "-o", f"remount,{'ro' if read_only else 'rw'}", self.directory)

    @staticmethod
    def _run(*command):
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


class FailingDisk(SmallDisk):
    """An ext4 that becomes read-only under those who use it, as one does whose disk fails."""

    def __init__(self, directory, user, image, megabytes=8):
        self._image = image
        with open(image, "wb") as file:
            file.truncate(megabytes * 1024 * 1024)
        entry = pwd.getpwnam(user)
        # Without room that root alone may use: root fills it.
        self._run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", f"root_owner={entry.pw_uid}:{entry.pw_gid}", image)
        super().__init__(directory, user, megabytes)
        os.chmod(directory, 0o700)

    def mount(self):
        self._run("mount", "-o", "loop,errors=remount-ro", self._image, self.directory)

    def fail(self):
        found = subprocess.run(["findmnt", "-n", "-o", "SOURCE", self.directory], check=True, text=True,
                               stdout=subprocess.PIPE)
        device = os.path.basename(found.stdout.strip())
        with open(f"/sys/fs/ext4/{device}/trigger_fs_error", "w", encoding="ascii") as file:
            file.write("a test")

    def repair(self):
        """As a restart of the machine does. Whoever was killed may need a moment until he has let go of it."""
        for _ in range(100):
            if subprocess.run(["umount", self.directory], check=False, stdin=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.1)
        else:
            self._run("umount", self.directory)
        self.mount()
