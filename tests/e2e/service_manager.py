# SPDX-License-Identifier: Apache-2.0
"""A stand-in for systemd, as far as smartkeyd knows it: sockets that are there before it, the notification socket
of sd_notify(3) and its watchdog, and the file descriptor store, whose descriptors the next process gets (sd_listen_fds(3)).

A descriptor that is kept here is the daemon's own: what is read through it is what the daemon has in it."""

import array
import contextlib
import fcntl
import os
import socket
import struct
import subprocess
import threading

from stack import SERVICE, Stack

NAME = "smartkeyd-tokens"
WATCHDOG = "60000000"  # WatchdogSec= of the unit, which nobody enforces here

# Numbers the descriptors from 3 on, as sd_listen_fds wants them, and becomes the daemon.
LAUNCH = """
import os, sys
fds = [int(fd) for fd in sys.argv[1].split(",")]
for number, fd in enumerate(fds, 3):
    os.dup2(fd, number, inheritable=True)
for fd in fds:
    os.close(fd)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class ServiceManager:
    def __init__(self, directory, sockets, keeps=4):
        """`sockets`: {name: path}. `keeps`: FileDescriptorStoreMax=."""
        self.keeps = keeps
        self.stored = []     # (name, descriptor)
        self.messages = []   # what the daemon said
        self.pid = None      # who may say something (NotifyAccess=main)
        self.lock = threading.Lock()
        self.sockets = {}
        for name, path in sockets.items():
            self.sockets[name] = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sockets[name].bind(path)
            os.chmod(path, 0o666)
            self.sockets[name].listen(4096)
        self.path = os.path.join(directory, "notify")
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.notify.bind(self.path)
        os.chmod(self.path, 0o666)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            data, ancillary, _, _ = self.notify.recvmsg(
                4096, socket.CMSG_SPACE(struct.calcsize("3i")) + socket.CMSG_SPACE(64 * 4))
            if data == b"END":
                return
            fds, pid = array.array("i"), None
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds.frombytes(value[:len(value) - len(value) % fds.itemsize])
                elif level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid = struct.unpack("3i", value)[0]
            with self.lock:
                if pid == self.pid:
                    self._take(dict(line.split("=", 1) for line in data.decode().splitlines()), list(fds))
                else:
                    for fd in fds:
                        os.close(fd)

    def _take(self, message, fds):
        self.messages.append(message)
        name = message.get("FDNAME", "stored")
        if message.get("FDSTOREREMOVE") == "1":
            for _, fd in [one for one in self.stored if one[0] == name]:
                os.close(fd)
            self.stored = [one for one in self.stored if one[0] != name]
        for fd in fds:
            known = any(os.path.sameopenfile(fd, other) for _, other in self.stored)
            if message.get("FDSTORE") == "1" and not known and len(self.stored) < self.keeps:
                self.stored.append((name, fd))
            else:
                os.close(fd)

    def store(self, name, fd):
        """As if an earlier process had pushed it."""
        with self.lock:
            self.stored.append((name, fd))

    def start(self, spawn, program, *args, **options):
        with self.lock:
            given = list(self.stored)
            names = [*self.sockets, *(name for name, _ in given)]
            # Above those that the daemon will have, so that none is overwritten before it is there.
            fds = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64)
                   for fd in [*(one.fileno() for one in self.sockets.values()), *(fd for _, fd in given)]]
            options["env"] = {**options.get("env", {}), "NOTIFY_SOCKET": self.path, "LISTEN_FDS": str(len(fds)),
                              "LISTEN_FDNAMES": ":".join(names), "WATCHDOG_USEC": WATCHDOG}
            process = spawn(["/usr/bin/python3", "-c", LAUNCH, ",".join(map(str, fds)), program, *args],
                            pass_fds=fds, **options)
            self.pid = process.pid
            for fd in fds:
                os.close(fd)
            return process

    def said(self, key, value):
        with self.lock:
            return [message for message in self.messages if message.get(key) == value]

    def kept(self):
        """The descriptors of tokens."""
        with self.lock:
            return [fd for name, fd in self.stored if name == NAME]

    def memory(self):
        """Every page of tokens that is there, as (offset, bytes)."""
        pages = []
        for fd in self.kept():
            size = os.fstat(fd).st_size
            place = 0
            with contextlib.suppress(OSError):  # ENXIO: only a hole follows
                while place < size:
                    place = os.lseek(fd, place, os.SEEK_DATA)
                    end = os.lseek(fd, place, os.SEEK_HOLE)
                    pages.append((place, os.pread(fd, end - place, place)))
                    place = end
        return pages

    def holds(self, text):
        return any(text in page for _, page in self.memory())

    def damage(self, text):
        """Flips one bit in the middle of it."""
        (fd,) = self.kept()
        for place, page in self.memory():
            found = page.find(text)
            if found >= 0:
                at = place + found + len(text) // 2
                os.pwrite(fd, bytes([os.pread(fd, 1, at)[0] ^ 1]), at)
                return
        raise AssertionError("it is not there")

    def forget(self):
        """systemctl stop: nothing is kept."""
        with self.lock:
            for _, fd in self.stored:
                os.close(fd)
            self.stored = []

    def close(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"END", self.path)
        self.forget()
        for one in self.sockets.values():
            one.close()


class ManagedStack(Stack):
    """smartkeyd as a service of that manager."""

    def __init__(self, **options):
        super().__init__(**options)
        self.manager = ServiceManager(self.run, {"smartkeyd": self.socket, "smartkeyd-admin": self.admin_socket})

    def close(self):
        self.stop("smartkeyd")
        self.manager.close()
        super().close()

    def start_daemon(self, wait=True):
        with open(self.daemon_log, "ab") as log:
            self.processes["smartkeyd"] = self.manager.start(
                lambda args, **options: self.spawn(SERVICE, args, **options),
                os.path.join(self.bin, "smartkeyd"), "--config", self.config,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if wait:
            self.wait_for_daemon()


__all__ = ["ManagedStack", "ServiceManager", "NAME"]
