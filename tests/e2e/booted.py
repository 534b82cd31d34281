# SPDX-License-Identifier: Apache-2.0
"""Runs inside a container whose first process is systemd (under_systemd.py): the units of the tree, with the directories
and the user of a Stack. Each story below is told of a Stack of its own. Prints a line for each step; the last one is OK."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import time

from hardware import PIN, Token
from stack import ALICE, ROOT, SERVER, SERVICE, Failed, Stack, wait_for
from unit_process import UNITS, directories_of, install, systemctl

SOCKETS = ("smartkeyd.socket", "smartkeyd-admin.socket")
CREDENTIAL = "/run/credentials/smartkeyd.service/pin"
SEALED, PLAIN = "/etc/smartkeyd/pin.cred", "/etc/smartkeyd/pin"


class BootedStack(Stack):
    def __init__(self, units, **options):
        super().__init__(**options)
        for unit, lines in {
                "smartkeyd.service": directories_of(self, SERVICE),
                "smartkeyd.socket": ["[Socket]", "ListenStream=", f"ListenStream={self.socket}"],
                "smartkeyd-admin.socket": ["[Socket]", "ListenStream=", f"ListenStream={self.admin_socket}",
                                           "SocketGroup="]}.items():
            install(f"{units}/{unit}", unit, lines)
        systemctl("daemon-reload")

    def start_daemon(self, wait=True):
        systemctl("start", "smartkeyd.service")
        self.wait_for_daemon()

    def wait_for_daemon(self):
        wait_for(lambda: self.ctl(ALICE, "version").code == 0, "smartkeyd to answer")

    def daemon_pid(self):
        return int(systemctl("show", "-P", "MainPID", "smartkeyd.service")) or None

    def stop_daemon(self):
        systemctl("stop", "smartkeyd.service", *SOCKETS)

    def close(self):
        self.stop_daemon()
        super().close()


def edit_service(*lines):
    """`systemctl edit smartkeyd.service`, which wants a terminal and an editor."""
    with open(f"{UNITS}/smartkeyd.service.d/override.conf", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    systemctl("daemon-reload")


def at_a_terminal(command, answer):
    """What it says to an administrator who is asked once and answers."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv("/bin/sh", ["sh", "-c", command])
    said = b""
    with contextlib.suppress(OSError):  # nobody has the other end open any more
        while chunk := os.read(terminal, 4096):
            if b":" in chunk and b":" not in said:
                os.write(terminal, f"{answer}\n".encode())
            said += chunk
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    check(status == 0, f"{command}: {'' if status == 0 else said}")
    return said.decode(errors="replace")


class TokenWithSealedPin(Token):
    """Its PIN is a credential, made with what systemd/README.md tells an administrator to type."""

    def __init__(self, stack, directory):
        super().__init__(stack, directory)
        self.pin_file = CREDENTIAL

    def write_pin(self, pin):
        with open(f"{ROOT}/systemd/README.md", encoding="utf-8") as file:
            recipe = file.read().partition("\n### A PIN\n")[2].split("```")[1]
        command = recipe.strip().splitlines()[0]
        drop_in = re.findall(r"# (\[Service\]|Load\S+)$", recipe, re.MULTILINE)
        check(drop_in == ["[Service]", f"LoadCredentialEncrypted=pin:{SEALED}"], "systemd/README.md tells what to type")
        os.makedirs(os.path.dirname(SEALED), exist_ok=True)
        said = at_a_terminal(command, pin)
        check(pin not in said, "the PIN is not shown while it is typed")
        edit_service(*drop_in)


def check(holds, what):
    print(("ok  " if holds else "NOT ") + what, flush=True)
    if not holds:
        raise Failed(what)


def hardware_state(stack):
    return stack.ctl("root", "--json", "status").json()["hardware"]["state"]


def tpm_is_late(stack):
    """The machine boots faster than its TPM."""
    stack.start_ehr()
    stack.write_config()
    stack.start_daemon()
    check(hardware_state(stack) == "ABSENT", "it starts without a TPM")
    refused = stack.enroll()
    check(refused.code == 4 and "tpm" in refused.out, f"and says so to who enrolls {'' if refused.code == 4 else refused}")
    stack.hardware.start()
    wait_for(lambda: hardware_state(stack) == "READY", "the TPM to be found")
    enrolled = stack.enroll()
    check(enrolled.code == 0, f"ready by itself when it comes {enrolled if enrolled.code else ''}")


def tokens_are_kept(stack):
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
        before = stack.daemon_pid()
        systemctl("kill", "--signal=KILL", "smartkeyd.service")
        wait_for(lambda gone=before: stack.daemon_pid() not in (gone, None), "systemd to start it again")
        serves_the_same(f"after kill {number + 1}")
    check(systemctl("show", "-P", "NFileDescriptorStore", "smartkeyd.service") == "1", "still one descriptor")
    before = stack.daemon_pid()
    with open(stack.config, "a", encoding="utf-8") as file:
        file.write('[[server]]\nname = "grace"\nfhir_base = "https://grace.example/fhir"\n')
    systemctl("reload", "smartkeyd.service")
    wait_for(lambda: "grace" in stack.ctl(ALICE, "servers").out, "the reload")
    check(stack.daemon_pid() == before, "a reload is no restart")
    check(systemctl("is-active", "smartkeyd.service") == "active", "and has an end")
    serves_the_same("after a reload")
    stack.stop_daemon()
    stack.start_daemon()
    check(stack.ctl(ALICE, "token", SERVER).out.strip() != token, "another token after stop and start")
    check(len(stack.token_requests()) == asked + 1, "for one request")


def token_in_a_process_of_its_own(stack):
    """A PKCS#11 token: the unit's sandbox lets the vendor's module live, die and be started again."""
    stack.start()
    # Until the restart; the PIN, which is used by then, shall be in no log.
    check(stack.ctl("root", "log-level", "debug").code == 0, "it logs all that it can")
    enrolled = stack.enroll()
    check(enrolled.code == 0, f"enrolled with a key in a token {enrolled if enrolled.code else ''}")
    first = stack.hardware.kill_module()
    check(first is not None, "the module has a process of its own")
    signed = stack.ctl(ALICE, "assertion", SERVER)
    check(signed.code == 0, f"signs after that process was killed {signed.err}")
    second = stack.hardware.module_pid()
    check(second not in (None, first), "in another process")
    systemctl("restart", "smartkeyd.service")
    stack.wait_for_daemon()
    check(not os.path.exists(f"/proc/{second}"), "which ends with the daemon")
    signed = stack.ctl(ALICE, "assertion", SERVER)
    check(signed.code == 0, f"signs after a restart {signed.err}")
    pin_is_a_credential(stack)


def pin_is_a_credential(stack):
    """So far it was the sealed one. As well from a file that only root reads, and from nowhere else."""
    def restart_with(*drop_in):
        edit_service(*drop_in)
        systemctl("restart", "smartkeyd.service")
        stack.wait_for_daemon()
        return stack.ctl(ALICE, "assertion", SERVER)

    def read_as(user):
        return stack.spawn(user, ["cat", CREDENTIAL], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL).wait()

    check(read_as(ALICE) != 0, "alice may not read the credential")
    with open(SEALED, "rb") as file:
        check(PIN.encode() not in file.read(), f"{SEALED} does not tell the PIN")
    os.unlink(SEALED)
    with open(PLAIN, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(f"{PIN}\n")
    printed = subprocess.run(["systemd-creds", "encrypt", "-p", "--tpm2-pcrs=", "--name=pin", PLAIN, "-"], check=True,
                             text=True, stdout=subprocess.PIPE).stdout
    for line in (f"LoadCredential=pin:{PLAIN}", printed):
        signed = restart_with("[Service]", line)
        check(signed.code == 0, f"signs with the PIN of {line.partition('=')[0]}= {signed.err}")
        check(read_as(ALICE) != 0, "which alice may not read either")
    refused = restart_with()
    check(refused.code == 4 and CREDENTIAL in refused.err, f"without a credential it has no PIN {refused.err.strip()}")
    journal = subprocess.run(["journalctl", "--no-pager", "-o", "export"], check=True, stdout=subprocess.PIPE).stdout
    check(PIN not in stack.read_log() and PIN.encode() not in journal, "the PIN is in no log")


STORIES = ((tpm_is_late, {}), (tokens_are_kept, {}), (token_in_a_process_of_its_own, {"hardware": TokenWithSealedPin}))


def tell(story, options):
    print(f"== {story.__name__}", flush=True)
    stack = BootedStack(sys.argv[2], binaries=sys.argv[1], **options)
    try:
        story(stack)
    except Exception:
        print(stack.read_log() if os.path.exists(stack.daemon_log) else "no log", flush=True)
        print(subprocess.run(["systemctl", "status", "smartkeyd.service", *SOCKETS], check=False, text=True,
                             stdout=subprocess.PIPE).stdout, flush=True)
        raise
    finally:
        stack.close()


def main():
    start = time.monotonic()
    try:
        for story, options in STORIES:
            tell(story, options)
        print(f"OK {time.monotonic() - start:.0f} s", flush=True)
    except Exception as error:  # whatever it was: for the reader outside
        print(f"FAILED {error!r}", flush=True)


if __name__ == "__main__":
    main()
