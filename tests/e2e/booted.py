# SPDX-License-Identifier: Apache-2.0
"""Runs inside a container whose first process is systemd (under_systemd.py): the units of the tree, with the directories
and the user of a Stack, over restarts and kills. Prints a line for each step; the last one is OK."""

import os
import subprocess
import sys
import time

from stack import ALICE, SERVER, SERVICE, Failed, Stack, wait_for

UNITS = "/etc/systemd/system"


def systemctl(*args):
    return subprocess.run(["systemctl", *args], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


class BootedStack(Stack):
    def __init__(self, units, **options):
        super().__init__(**options)
        for unit, lines in {
                "smartkeyd.service": [
                    "[Service]", "ExecStart=", f"ExecStart={self.bin}/smartkeyd --config {self.config}",
                    f"User={SERVICE}", f"Group={SERVICE}", "SupplementaryGroups=", "StateDirectory=", "PrivateTmp=no",
                    f"ReadWritePaths={self.dir}", f"StandardError=append:{self.daemon_log}"],
                "smartkeyd.socket": ["[Socket]", "ListenStream=", f"ListenStream={self.socket}"],
                "smartkeyd-admin.socket": ["[Socket]", "ListenStream=", f"ListenStream={self.admin_socket}",
                                           "SocketGroup="]}.items():
            with open(f"{units}/{unit}", encoding="utf-8") as file, \
                    open(f"{UNITS}/{unit}", "w", encoding="utf-8") as installed:
                installed.write(file.read())
            os.makedirs(f"{UNITS}/{unit}.d", exist_ok=True)
            with open(f"{UNITS}/{unit}.d/test.conf", "w", encoding="utf-8") as file:
                file.write("\n".join(lines) + "\n")
        systemctl("daemon-reload")

    def start_daemon(self, wait=True):
        systemctl("start", "smartkeyd.service")
        self.wait_for_daemon()

    def wait_for_daemon(self):
        wait_for(lambda: self.ctl(ALICE, "version").code == 0, "smartkeyd to answer")

    def main_pid(self):
        return int(systemctl("show", "-P", "MainPID", "smartkeyd.service"))


def check(holds, what):
    print(("ok  " if holds else "NOT ") + what, flush=True)
    if not holds:
        raise Failed(what)


def run(stack):
    stack.start()
    enrolled = stack.enroll()
    check(enrolled.code == 0, f"enrolled {enrolled if enrolled.code else ''}")
    token = stack.ctl(ALICE, "token", SERVER).out.strip()
    asked = len(stack.token_requests())
    check(token != "", "there is a token")
    check(systemctl("show", "-P", "NFileDescriptorStore", "smartkeyd.service") == "1", "systemd stores one descriptor")

    def serves_the_same(what):
        stack.wait_for_daemon()
        check(stack.ctl(ALICE, "token", SERVER).out.strip() == token, f"the same token {what}")
        check(len(stack.token_requests()) == asked, "no token request")

    for number in range(5):
        systemctl("restart", "smartkeyd.service")
        serves_the_same(f"after restart {number + 1}")
    for number in range(5):
        before = stack.main_pid()
        systemctl("kill", "--signal=KILL", "smartkeyd.service")
        wait_for(lambda gone=before: stack.main_pid() not in (gone, 0), "systemd to start it again")
        serves_the_same(f"after kill {number + 1}")
    check(systemctl("show", "-P", "NFileDescriptorStore", "smartkeyd.service") == "1", "still one descriptor")
    systemctl("stop", "smartkeyd.service", "smartkeyd.socket", "smartkeyd-admin.socket")
    stack.start_daemon()
    check(stack.ctl(ALICE, "token", SERVER).out.strip() != token, "another token after stop and start")
    check(len(stack.token_requests()) == asked + 1, "for one request")


def main():
    start = time.monotonic()
    stack = BootedStack(sys.argv[2], binaries=sys.argv[1])
    try:
        run(stack)
        print(f"OK {time.monotonic() - start:.0f} s", flush=True)
    except Exception as error:  # whatever it was: for the reader outside
        print(f"FAILED {error!r}\n{stack.read_log() if os.path.exists(stack.daemon_log) else ''}", flush=True)
        print(subprocess.run(["systemctl", "status", "smartkeyd.service", "smartkeyd.socket"], check=False, text=True,
                             stdout=subprocess.PIPE).stdout, flush=True)


if __name__ == "__main__":
    main()
