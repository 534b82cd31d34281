#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tells the main job as a story, on real parts, and fails where a step does not hold.

Started by scripts/demo, which installs and builds first.
"""

import argparse
import json
import os
import subprocess
import sys
import textwrap

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from hardware import Token, Tpm  # noqa: E402
from stack import ALICE, BOB, SERVER, SERVICE, Failed, Stack, wait_for  # noqa: E402

WIDTH = 78
SHORT_TTL = 5  # seconds


class Story:
    def __init__(self):
        self.step = 0

    def tell(self, title, text):
        self.step += 1
        print(f"\n{self.step}. {title}")
        print(textwrap.fill(" ".join(text.split()), WIDTH, initial_indent="   ", subsequent_indent="   "))
        sys.stdout.flush()

    @staticmethod
    def show(text):
        for line in text.rstrip().splitlines():
            print(f"   | {line}")
        sys.stdout.flush()

    @staticmethod
    def check(holds, what):
        if not holds:
            raise Failed(what)
        print(f"   ok: {what}")
        sys.stdout.flush()


def run(stack, result):
    if result.code != 0:
        raise Failed(str(result))
    return result


def fingerprint(token):
    import hashlib
    return "sha256 " + hashlib.sha256(token.encode()).hexdigest()[:16]


def tell(stack, options):
    story = Story()
    hardware = stack.hardware
    story.tell("The parts", f"""
        {options.parts}, a hospital's authorization and FHIR server (the sandbox), and smartkeyd, which
        alone may use the {hardware.name}. All run on this machine as unprivileged users, in {stack.dir}.
        The accounts of every Debian play the people: "{ALICE}" is Alice, "{BOB}" is Bob.""")
    stack.start()
    pid = stack.processes["smartkeyd"].pid
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    story.check(status["Uid"].split()[0] != "0" and int(status["CapEff"], 16) == 0,
                f"smartkeyd (pid {pid}) runs as user {SERVICE}, without any capability")

    story.tell("Alice enrolls", """
        smartkeyctl asks smartkeyd for a link, Alice logs in at her hospital, chooses the patient and
        allows access. smartkeyd makes a key inside the hardware, exchanges the code, registers a client of her
        own with the key's public half, and gets the first token. The token that pays for the registration
        never leaves smartkeyd.""")
    if options.browser:
        code = subprocess.call(stack.ctl_args(ALICE, ("enroll", SERVER, "--no-browser")),
                               user=ALICE, group=ALICE, extra_groups=[])
        story.check(code == 0, "enrolled by a person in a browser")
    else:
        result = stack.enroll(ALICE)
        story.show("\n".join(line if len(line) <= WIDTH - 6 else line[: WIDTH - 9] + "..."
                             for line in result.out.splitlines()))
        story.check(result.code == 0, "smartkeyctl enroll ended with success")
    registered = stack.requests("/register")
    story.check(len(registered) == 1 and registered[0]["status"] == 201,
                "the server's log has one registration, answered 201")

    story.tell(f"The registration, and the {hardware.name}'s own view of its key", f"""
        What is on record, and the attributes of the key that another program reads from the {hardware.name}: made
        in there, for signing only. Nobody can take such a key out, root included.""")
    story.show(run(stack, stack.ctl(ALICE, "show", SERVER)).out)
    shown = run(stack, stack.ctl(ALICE, "--json", "show", SERVER)).json()
    shown = shown["registration"]
    line, words = hardware.view_of_key(shown)
    story.show(line)
    for attribute in hardware.attributes:
        story.check(attribute in words, f"the {hardware.name} says: {attribute}")
    for attribute in hardware.not_attributes:
        story.check(attribute not in words, f"the {hardware.name} says: not {attribute}")

    story.tell("App A gets a token and reads the patient", f"""
        smartkeyd signs an assertion with the key in the {hardware.name} and trades it for an access token (step 3). App
        A, a process of Alice's, uses it at the FHIR server.""")
    before = len(stack.token_requests())
    token_a = run(stack, stack.ctl(ALICE, "token", SERVER)).out.strip()
    patient = stack.fhir_get("Patient/pat-1", token_a)
    story.show(f"GET Patient/pat-1 -> {json.dumps(patient)[:60]}...")
    story.check(patient.get("resourceType") == "Patient" and patient.get("id") == "pat-1",
                "App A has read the Patient")

    story.tell("App B gets the same token", """
        Another process of Alice's asks. It shares the authorization and causes no request.""")
    token_b = run(stack, stack.ctl(ALICE, "token", SERVER)).out.strip()
    story.show(f"App A: {fingerprint(token_a)}\nApp B: {fingerprint(token_b)}")
    story.check(token_a == token_b, "both have the same token")
    story.check(len(stack.token_requests()) == before and before == 1,
                "the server's log has one token request in all")

    story.tell("Bob asks", """
        A process of another user asks for the same registration, by its name and by its id.""")
    for asked in (SERVER, shown["id"]):
        refused = stack.ctl(BOB, "token", asked)
        story.show(refused.err)
        unknown = stack.ctl(BOB, "token", "no-such-registration")
        story.check(refused.code != 0 and not refused.out and refused.err == unknown.err,
                    "Bob is told what he would be told of a registration that does not exist")

    story.tell("The token expires", f"""
        The hospital now gives tokens for {SHORT_TTL} seconds (smartkeyd is started anew, or the cached one would
        serve for an hour). When one has ended, the next call gets a new one, and no person is involved.""")
    stack.switches(access_token_ttl=SHORT_TTL)
    stack.control("revoke_tokens", {})
    stack.kill_daemon()  # what is cached lasts an hour
    stack.start_daemon()
    first = run(stack, stack.ctl(ALICE, "token", SERVER)).out.strip()
    second = wait_for(lambda: next((t for t in [run(stack, stack.ctl(ALICE, "token", SERVER)).out.strip()]
                                    if t != first), None), "a new token")
    story.show(f"before: {fingerprint(first)}\nafter:  {fingerprint(second)}")
    story.check(stack.fhir_get("Patient/pat-1", second)["id"] == "pat-1", "the new token works")
    logins = len([line for line in stack.requests("/authorize") if line.get("decision")])
    story.check(logins <= 1, "nobody has logged in again")

    story.tell("smartkeyd is killed", """
        SIGKILL, in the middle of its work, and a new start. Nothing is enrolled anew.""")
    stack.kill_daemon()
    stack.start_daemon()
    token = run(stack, stack.ctl(ALICE, "token", SERVER)).out.strip()
    story.check(stack.fhir_get("Patient/pat-1", token)["id"] == "pat-1", "it serves again")

    if options.pkcs11:
        story.tell("The token's driver is killed", """
            The vendor's module runs in a process of its own, away from smartkeyd's memory. It is killed; the next
            signature finds a new one.""")
        story.check(hardware.kill_module() is not None, "the module's process was killed")
        before = token
        token = wait_for(lambda: next((t for t in [stack.ctl(ALICE, "token", SERVER).out.strip()]
                                       if t and t != before), None), "a token signed for by a new process")
    else:
        story.tell("The machine reboots", """
            The TPM loses everything that is not kept: a power cycle and TPM2_Startup(CLEAR).""")
        stack.stop("smartkeyd")
        hardware.reboot()
        stack.start_daemon()
        stack.control("revoke_tokens", {})
        token = run(stack, stack.ctl(ALICE, "token", SERVER)).out.strip()
    story.check(stack.fhir_get("Patient/pat-1", token)["id"] == "pat-1", "it serves again, with the same key")
    story.check(len(stack.requests("/register")) == 1, "there has been one registration from first to last")
    story.show(run(stack, stack.ctl(ALICE, "list")).out)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binaries")
    parser.add_argument("--keep", action="store_true", help="leave everything running")
    parser.add_argument("--browser", action="store_true", help="let a person log in")
    parser.add_argument("--pkcs11", action="store_true", help="keys in a SoftHSM2 token instead of a TPM")
    options = parser.parse_args()
    options.parts = "A PKCS#11 token (SoftHSM2)" if options.pkcs11 else "A TPM 2.0 (swtpm)"
    stack = Stack(options.binaries, keep=options.keep, hardware=Token if options.pkcs11 else Tpm)
    try:
        tell(stack, options)
    except (Failed, subprocess.CalledProcessError) as problem:
        print(f"\nFAILED: {problem}\n", file=sys.stderr)
        if os.path.exists(stack.daemon_log):
            print("The last lines of smartkeyd's log:", file=sys.stderr)
            print("\n".join(stack.read_log().splitlines()[-25:]), file=sys.stderr)
        stack.close()
        return 1
    if options.keep:
        print(f"""
Everything is still running. To talk to it (as root, in the name of {ALICE}):
  setpriv --reuid {ALICE} --regid {ALICE} --clear-groups {stack.bin}/smartkeyctl --socket {stack.socket} list
  {stack.bin}/smartkeyctl --socket {stack.admin_socket} status
The hospital: {stack.ready['fhir_base']} (login alice / alice-password)
To end it:
  kill {' '.join(str(p.pid) for p in stack.processes.values())}; rm -r {stack.dir}""")
    else:
        stack.close()
    print("\nEvery step held.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
