# SPDX-License-Identifier: Apache-2.0
"""smartkeyctl enroll (or renew) while it is under way, so that a test can be the person and the browser."""

import re
import signal
import subprocess
import threading
import time
from urllib.parse import parse_qs, urlsplit

from stack import ALICE, PATIENCE, SERVER, Failed, Result

_URL = re.compile(r"^(https?://\S+[?&]code_challenge=\S*)$", re.MULTILINE)


class Enrolling:
    """The process, and what it has said so far on both outputs together. Ends it when the block is left."""

    def __init__(self, stack, *args, user=ALICE, server=SERVER, command="enroll", **options):
        """`args` as on the command line; `options` as for Stack.spawn."""
        self._stack = stack
        self._args = [command, server, *args]
        self._process = stack.spawn(user, stack.ctl_args(user, self._args), stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
        self._said = ""
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self.interrupt()  # cancelled, so that it does not count as pending in the next test
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stdout.close()

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                self._said += line
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def said(self):
        with self._changed:
            return self._said

    def wait_until_said(self, pattern):
        """The match of `pattern` in what is said; fails when the program ends without it."""
        end = time.monotonic() + PATIENCE
        with self._changed:
            while True:
                found = re.search(pattern, self._said, re.MULTILINE)
                if found:
                    return found
                if self._ended or time.monotonic() > end:
                    raise Failed(f"never said {pattern!r}:\n{self._said}\n{self._stack.read_log()}")
                self._changed.wait(end - time.monotonic())

    @property
    def url(self):
        """The authorization URL, once it waits for the browser."""
        self.wait_until_said(r"^Waiting for the browser")
        return _URL.search(self.said).group(1)

    @property
    def redirect_uri(self):
        return parse_qs(urlsplit(self.url).query)["redirect_uri"][0]

    @property
    def state(self):
        return parse_qs(urlsplit(self.url).query)["state"][0]

    def interrupt(self, how=signal.SIGINT):
        """Ctrl-C; SIGHUP is a terminal that is closed."""
        self._process.send_signal(how)

    def paste(self, text):
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def wait(self):
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(self._args)} did not end:\n{self.said}\n{self._stack.read_log()}") from None
        self._reader.join()
        return Result(["smartkeyctl", *self._args], self._process.returncode, self._said, "")
