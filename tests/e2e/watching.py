# SPDX-License-Identifier: Apache-2.0
"""`smartkeyctl --json watch` while it runs: the events it has printed so far."""

import json
import subprocess
import threading

from stack import ALICE, PATIENCE, Failed


class Watching:
    """The process. Ends it when the block is left."""

    def __init__(self, stack, *args, user=ALICE):
        self._stack = stack
        command = stack.ctl_args(user, ["--json", "watch", *args])
        self._process = stack.spawn(user, command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)
        self._events = []
        self._taken = 0
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._reader.join()
        self._process.wait()
        self._process.stdout.close()
        self._process.stderr.close()

    def _read(self):
        for line in self._process.stdout:
            with self._changed:
                self._events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, what, matches):
        """The next event (not an error) for which `matches` is true; those before it are passed over."""
        def look():
            while self._taken < len(self._events):
                self._taken += 1
                if self._matches(matches):
                    return True
            return self._ended
        with self._changed:
            found = self._changed.wait_for(look, PATIENCE)
            if not found or not self._matches(matches):
                raise Failed(f"no event: {what}; there were {self._events}\n{self._stack.read_log()}")
            return self._events[self._taken - 1]

    def _matches(self, matches):
        return self._taken > 0 and "event" in self._events[self._taken - 1] and matches(self._events[self._taken - 1])

    def wait_for_event(self, name):
        return self.wait_for(name, lambda event: event["event"] == name)

    def events(self):
        with self._changed:
            return list(self._events)

    def wait_for_end(self):
        """Its exit code and what it said on stderr."""
        code = self._process.wait(PATIENCE)
        self._reader.join()
        return code, self._process.stderr.read()
