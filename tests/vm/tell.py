#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""smartkeyd in a virtual machine, over reboots and with a kernel's TPM resource manager: told step by step, and failing
where one does not hold.

Started by scripts/test-vm, which installs and builds first.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

E2E = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e")
sys.path.insert(0, E2E)
from demo import Story, fingerprint, run  # noqa: E402
from machine import ALICE, BOB, Machine  # noqa: E402
from stack import SERVER, Failed, wait_for  # noqa: E402

LATEST = 2 * 3600  # seconds for the sessions
# The kernel's resource manager of Debian 12 saves no further one beside one that is held (docs/hardware.md).
MOST_SESSIONS = 65_000


class Told:
    """The story of one machine."""

    def __init__(self, machine):
        self.machine = machine
        self.story = Story()
        self.logins = 0
        self.tokens = []  # that the hospital took

    def tell_of_the_machine(self, options):
        begun = time.monotonic()
        self.machine.start_ehr()
        self.machine.make(options.mirror, options.installed, options.packages)
        made = time.monotonic() - begun
        booted = self.machine.power_on()
        self.story.tell("The machine", f"""
            A Debian with smartkeyd in it, made in {made:.0f} s, in qemu with an emulated processor; swtpm is the TPM, the
            kernel's driver and resource manager are in between. The hospital (the sandbox) is outside. The first boot
            until smartkeyd answered: {booted:.0f} s.""")
        tell = self.machine.told
        self.story.show("\n".join((
            f"kernel  {tell('uname', '-rv')}", f"systemd {tell('systemctl', '--version').splitlines()[0]}",
            f"qemu    {host('qemu-system-x86_64', '--version')}", f"swtpm   {host('swtpm', '--version')}",
            tell("ls", "-l", "/dev/tpmrm0"))))
        pid = tell("systemctl", "show", "-P", "MainPID", "smartkeyd.service")
        status = dict(line.split(":\t", 1) for line in tell("cat", f"/proc/{pid}/status").splitlines() if ":\t" in line)
        self.story.check(tell("stat", "-c", "%U", f"/proc/{pid}") == "smartkeyd" and int(status["CapEff"], 16) == 0
                         and tell("getent", "group", "tss").split(":")[2] in status["Groups"].split(),
                         "its unit runs it as user smartkeyd with the group tss, and without any capability")
        self.story.check(int(status["VmLck"].split()[0]) > 0
                         and "cannot be locked" not in tell("journalctl", "-b", "-u", "smartkeyd.service"),
                         f"the memory of tokens is locked, as its unit lets it: {status['VmLck'].strip()}")
        hardware = self.hardware()
        self.story.show(f"{hardware['description']}, {hardware['detail']}")
        self.story.check(hardware["state"] == "READY" and "by device (shared)" in hardware["detail"],
                         "its hardware is ready, through the kernel's resource manager")

    def tell_of_the_enrollment(self):
        self.story.tell("Alice enrolls", "With a person's part done by a script at the hospital's pages.")
        self.log_in("enroll")
        self.serves("a token, and the hospital takes it")

    def tell_of_a_reboot(self):
        seconds = self.machine.reboot()
        self.story.tell("The machine reboots", f"""
            systemctl reboot: the TPM is reset, all that was in memory is gone. It took {seconds:.0f} s.""")
        self.story.check(self.hardware()["state"] == "READY", "the TPM is found")
        self.serves("a token with the same key, nobody logged in")

    def tell_of_sessions(self, count):
        self.story.tell("Another program uses the TPM", f"""
            {BOB}'s program holds a session, and starts and ends {count:,} others, each of which the kernel saves in
            between. smartkeyd is idle.""")
        before, asked = self.hardware(), len(self.machine.token_requests())
        self.use_sessions(count)
        self.story.check(len(self.machine.token_requests()) == asked, "smartkeyd was idle meanwhile")
        run(self.machine, self.machine.ctl(ALICE, "report-rejected", SERVER, stdin=self.tokens[-1]))
        self.serves("another token, while that program still holds its session")
        after = self.hardware()
        self.story.check((after["state"], after["since"]) == ("READY", before["since"]),
                         "its hardware was READY all the while")
        self.machine.told("systemctl", "restart", "smartkeyd.service")
        self.machine.wait_for_daemon()
        self.log_in("renew")
        self.serves("after a restart it opened that TPM, made a key, and has a token")
        self.machine.told("systemctl", "stop", "other-program.service")

    def use_sessions(self, count):
        """Until the last has ended, or one cannot be started."""
        told, said, begun = self.machine.told, "/run/other-program", time.monotonic()
        told("systemd-run", "--unit=other-program", f"--property=User={BOB}", "--property=SupplementaryGroups=tss",
             f"--property=StandardOutput=file:{said}", "use_tpm_sessions", "device:/dev/tpmrm0", str(count), "--stay")
        shown = 0

        def lines():
            return told("cat", said).splitlines()

        def ended():
            nonlocal shown
            time.sleep(5)
            told("systemctl", "is-active", "other-program.service")
            so_far = lines()
            for line in so_far[shown:]:
                if not line.endswith("000 sessions") or line.endswith("0000 sessions"):
                    self.story.show(f"{time.monotonic() - begun:5.0f} s  {line}")
            shown = len(so_far)
            return so_far and not so_far[-1].endswith(" sessions")
        wait_for(ended, "the sessions", LATEST)
        made = max((int(line.split()[0]) for line in lines() if line.endswith(" sessions")), default=0)
        self.story.check(made >= min(count, MOST_SESSIONS), f"{made:,} sessions were made beside the one that is held")
        self.story.show(self.machine.inside("root", "sh", "-c", "dmesg | grep 'tpm tpm[0-9]:' | tail -n 3").out)

    def tell_of_a_cleared_tpm(self):
        self.machine.power_off()
        self.machine.clear_tpm()
        seconds = self.machine.power_on()
        self.story.tell("The TPM is cleared", f"""
            Between two boots, as the firmware's menu does it (TPM2_Clear with the platform's authorization). The boot
            took {seconds:.0f} s.""")
        self.lost("KEY_LOST_TPM_CLEARED")
        self.log_in("renew")
        self.serves("a token with the new key")

    def tell_of_another_tpm(self):
        state = self.machine.tpm_state
        self.machine.power_off()
        os.rename(state, f"{state}.old")
        os.mkdir(state)
        owner = os.stat(f"{state}.old")
        os.chown(state, owner.st_uid, owner.st_gid)
        seconds = self.machine.power_on()
        self.story.tell("Another TPM", f"""
            The machine was switched off, and on again with another TPM in it ({seconds:.0f} s).""")
        self.lost("KEY_LOST_OTHER_MACHINE")
        self.machine.power_off()
        shutil.rmtree(state)
        os.rename(f"{state}.old", state)
        seconds = self.machine.power_on()
        self.story.tell("The TPM is back", f"""
            Switched off, and on with the first TPM ({seconds:.0f} s).""")
        self.serves("a token with the key that was lost for a while")

    # What the steps share.

    def hardware(self):
        return run(self.machine, self.machine.ctl("root", "--json", "status")).json()["hardware"]

    def log_in(self, command):
        result = self.machine.enroll(command=command)
        self.story.check(result.code == 0, f"smartkeyctl {command} ended with success{result if result.code else ''}")
        self.logins += 1
        registered = [line["status"] for line in self.machine.requests("/register")]
        self.story.check(registered == [201] * self.logins,
                         f"the hospital has registered {self.logins} client{'s' if self.logins > 1 else ''} in all")

    def serves(self, what):
        """A token that is signed for anew, and with a key that a login has made."""
        begun = time.monotonic()
        token = run(self.machine, self.machine.ctl(ALICE, "token", SERVER)).out.strip()
        took = time.monotonic() - begun
        self.story.check(token not in self.tokens
                         and self.machine.fhir_get("Patient/pat-1", token, user="games")["id"] == "pat-1"
                         and len(self.machine.requests("/register")) == self.logins,
                         f"{what} ({took:.1f} s, {fingerprint(token)})")
        self.tokens.append(token)

    def lost(self, reason):
        refused = self.machine.ctl(ALICE, "token", SERVER)
        self.story.show(refused.err)
        told = self.machine.ctl(ALICE, "--json", "token", SERVER)
        self.story.check(refused.code == 4 and told.json()["error"]["reason"] == reason,
                         f"Alice is told {reason}, and what to do")
        self.story.check(self.hardware()["state"] == "READY", "the TPM itself is in order")


def host(*args):
    return subprocess.run(args, check=True, capture_output=True, text=True).stdout.splitlines()[0]


def tell(machine, options):
    told = Told(machine)
    told.tell_of_the_machine(options)
    told.tell_of_the_enrollment()
    told.tell_of_a_reboot()
    if options.sessions:
        told.tell_of_sessions(options.sessions)
    told.tell_of_a_cleared_tpm()
    told.tell_of_another_tpm()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--mirror", required=True)
    parser.add_argument("--installed", help="what cmake --install made")
    parser.add_argument("--packages", help="or a folder with smartkeyd's packages")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # closes the machine
    begun = time.monotonic()
    with Machine(options.binaries) as machine:
        try:
            tell(machine, options)
        except (Failed, OSError, RuntimeError) as problem:
            print(f"\nFAILED: {problem}\n{machine.read_log()}", file=sys.stderr)
            return 1
    print(f"\nEvery step held, in {(time.monotonic() - begun) / 60:.0f} minutes.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
