#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Many sessions of another program through a TPM's resource manager beside an idle smartkeyd, then a signature.

Started by scripts/soak, which builds first. Fails if smartkeyd does not sign at once, with the key it had.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hardware import Tpm  # noqa: E402
from stack import ALICE, SERVER, SERVICE, Failed, Stack  # noqa: E402

TOKEN_LIFETIME = 5  # seconds: over before the soak is
LATEST = 2 * 3600

BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
  </policy>
</busconfig>
"""


class ManagedTpm(Tpm):
    """swtpm behind tpm2-abrmd on a bus of its own: several programs use it at once, as a /dev/tpmrm0."""

    def __init__(self, stack, directory):
        super().__init__(stack, directory)
        self.direct_tcti = self.tcti
        self.tcti = "tabrmd:bus_type=session"
        self.bus = os.path.join(directory, "bus")
        self.environment = {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.bus}"}

    def start(self):
        super().start()
        configuration = os.path.join(self.stack.dir, "bus.conf")
        with open(configuration, "w", encoding="utf-8") as file:
            file.write(BUS.format(socket=self.bus))
        self._spawn("bus", ["dbus-daemon", "--nofork", f"--config-file={configuration}"])
        self.stack.wait_for(lambda: os.path.exists(self.bus), "the bus")
        self._spawn("manager", ["tpm2-abrmd", "--session", f"--tcti={self.direct_tcti}"])
        self.stack.wait_for(self._manager_is_there, "tpm2-abrmd to own its name")

    def _spawn(self, name, args):
        with open(os.path.join(self.stack.dir, name + ".log"), "ab") as log:
            self.stack.processes[name] = self.stack.spawn(SERVICE, args, env=self.environment,
                                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _manager_is_there(self):
        asked = self.stack.spawn(
            SERVICE, ["dbus-send", f"--bus=unix:path={self.bus}", "--dest=org.freedesktop.DBus",
                      "--print-reply=literal", "/", "org.freedesktop.DBus.NameHasOwner",
                      "string:com.intel.tss2.Tabrmd"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return "true" in asked.communicate()[0]

    def stop(self):
        for name in ("manager", "bus"):
            self.stack.stop(name)
        super().stop()


class SoakStack(Stack):
    def __init__(self, binaries):
        super().__init__(binaries, hardware=ManagedTpm)
        self.other_program = shutil.copy(os.path.join(binaries, "tests/hsm/use_tpm_sessions"), self.bin)
        self.daemon_environment = self.hardware.environment

    def close(self):
        self.stop("smartkeyd")
        self.stop("other program")
        self.hardware.stop()
        super().close()

    def use_sessions(self, count):
        """Says how long it took, and what became of the session that was held meanwhile."""
        begun = time.monotonic()
        process = self.processes["other program"] = self.spawn(
            SERVICE, [self.other_program, self.hardware.tcti, str(count)], env=self.hardware.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = ""
        for line in process.stdout:
            took = time.monotonic() - begun
            if took > LATEST:
                raise Failed(f"not done after {LATEST} s: {line}")
            said = line.strip()
            if not said.endswith("000 sessions") or said.endswith("0000 sessions"):
                print(f"{took:7.0f} s  {said}", flush=True)
        if process.wait() != 0:
            raise Failed(f"the other program failed: {said}")


def check(holds, what):
    if not holds:
        raise Failed(f"does not hold: {what}")
    print(f"ok: {what}", flush=True)


def hardware_of(stack):
    result = stack.ctl("root", "--json", "status")
    check(result.code == 0, "status answers")
    return result.json()["hardware"]


def soak(stack, count):
    stack.start()
    stack.switches(access_token_ttl=TOKEN_LIFETIME)
    enrolled = stack.enroll(ALICE)
    before = hardware_of(stack)
    check(enrolled.code == 0, f"enrolled, with a key in {before['description']}, {before['detail']}")
    first = stack.ctl(ALICE, "token", SERVER)
    check(first.code == 0, "a token was fetched")
    fetched = len(stack.token_requests())

    stack.use_sessions(count)

    check(len(stack.token_requests()) == fetched, "smartkeyd was idle meanwhile")
    begun = time.monotonic()
    signed = stack.ctl(ALICE, "assertion", SERVER)
    check(signed.code == 0, f"it signs, in {(time.monotonic() - begun) * 1000:.0f} ms with the client's start{signed.err}")
    token = stack.ctl(ALICE, "token", SERVER)
    check(token.code == 0 and len(stack.token_requests()) == fetched + 1, f"it fetches a token{token.err}")
    check(stack.fhir_get("Patient/pat-1", token.out.strip())["id"] == "pat-1", "which the server accepts")
    after = hardware_of(stack)
    check((after["state"], after["since"]) == ("READY", before["since"]), "its hardware was READY all the while")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries", required=True)
    parser.add_argument("--sessions", type=int, required=True)
    options = parser.parse_args()
    try:
        with SoakStack(options.binaries) as stack:
            try:
                soak(stack, options.sessions)
            except Failed:
                print(stack.read_log(), file=sys.stderr)
                raise
    except Failed as failure:
        print(f"soak: {failure}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
