# SPDX-License-Identifier: Apache-2.0
"""smartkeyd of a Stack as a service of the systemd that runs here, under the unit that is installed: for the tests what
subprocess.Popen is otherwise. under_systemd.py boots such a systemd."""

import os
import re
import shutil
import signal
import subprocess
import time

UNITS = "/etc/systemd/system"
EXITED = "1"  # CLD_EXITED of waitid(2), as `systemctl show` tells it


def systemctl(*args):
    return subprocess.run(["systemctl", *args], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def install(file, name, lines):
    """The unit of `file` under that name, with `lines` beside it. The caller reloads systemd."""
    shutil.copy(file, f"{UNITS}/{name}")
    os.makedirs(f"{UNITS}/{name}.d", exist_ok=True)
    with open(f"{UNITS}/{name}.d/test.conf", "w", encoding="utf-8") as drop_in:
        drop_in.write("\n".join(lines) + "\n")


def directories_of(stack, user):
    """What of the service is otherwise: that stack's files, and its user."""
    return ["[Service]", "ExecStart=", f"ExecStart={stack.bin}/smartkeyd --config {stack.config}", f"User={user}",
            f"Group={user}", "SupplementaryGroups=", "StateDirectory=", "PrivateTmp=no", f"ReadWritePaths={stack.dir}",
            f"StandardError=append:{stack.daemon_log}"]


class UnitProcess:
    stdin = None

    def __init__(self, stack, file, user):
        self.name = f"{os.path.basename(stack.dir)}.service"
        self.returncode = None
        install(file, self.name, directories_of(stack, user) + ["Restart=no"] + [
            f'Environment="{name}={value}"' for name, value in stack.daemon_environment.items()])
        # The stack's daemon makes its own sockets. Those of systemd have their stories in booted.py.
        path = f"{UNITS}/{self.name}"
        with open(path, encoding="utf-8") as unit:
            text = re.sub(r"(?m)^Requires=.*\n", "", unit.read())
        with open(path, "w", encoding="utf-8") as unit:
            unit.write(text)
        systemctl("daemon-reload")
        # Returns when it is ready, or has ended.
        subprocess.run(["systemctl", "start", self.name], check=False, stderr=subprocess.DEVNULL)
        self.pid = int(systemctl("show", "-P", "ExecMainPID", self.name))

    def poll(self):
        if self.returncode is None:
            shown = dict(line.split("=", 1) for line in systemctl(
                "show", "-p", "ActiveState", "-p", "ExecMainCode", "-p", "ExecMainStatus", self.name).splitlines())
            if shown["ActiveState"] in ("inactive", "failed"):
                status = int(shown["ExecMainStatus"])
                self.returncode = status if shown["ExecMainCode"] == EXITED else -status
        return self.returncode

    def wait(self, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(self.name, timeout)
            time.sleep(0.02)
        return self.returncode

    def send_signal(self, how):
        if self.poll() is None:  # its pid may be another's otherwise
            os.kill(self.pid, how)

    def kill(self):
        self.send_signal(signal.SIGKILL)
