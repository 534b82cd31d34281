# SPDX-License-Identifier: Apache-2.0
"""A virtual machine with a TPM behind Debian's own kernel, smartkeyd under its systemd, and outside the hospital.

    with Machine(...) as machine:
        machine.power_on()
        machine.enroll()
        machine.reboot()
        machine.ctl(ALICE, "token", SERVER)

A Stack (tests/e2e/stack.py) whose TPM, smartkeyd and people are in a machine of their own; the hospital stays on the
host, since it forgets everything when it ends. qemu emulates the processor, so no /dev/kvm is needed."""

import base64
import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import time
from urllib.parse import urlsplit

import image
from stack import APP, ROOT, SERVER, SERVICE, Failed, Result, Stack, wait_for

ALICE, BOB = "alice", "bob"  # people, as the machine knows them
PATIENCE = 900               # seconds: an emulated processor on a busy host
FIRST_ANSWER = 10            # seconds for a machine that may not be up yet
BEFORE_ITS_END = 60          # seconds for one that may go down and leave what it was asked unanswered

CONFIG = """[key_provider]
type = "tpm"
tcti = "device:/dev/tpmrm0"

[[app]]
id = "{app}"
name = "Growth Chart"
redirect_uris = ["http://127.0.0.1/callback"]
scopes = ["launch/patient", "patient/*.rs", "openid", "fhirUser"]
[[app.client]]
servers = ["*"]
client_id = "growth-chart"
software_id = "growth-chart-software"

[[server]]
name = "{server}"
fhir_base = "{fhir_base}"
allow_loopback_http = true
"""


class Agent:
    """A connection to QEMU's guest agent. Raises OSError where the machine does not answer."""

    def __init__(self, path, patience):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(FIRST_ANSWER)
        try:
            self._socket.connect(path)
            self._file = self._socket.makefile("rwb")
            # What comes before the answer to this was meant for an earlier connection.
            number = random.getrandbits(31)
            self._send("guest-sync", id=number)
            while self._receive().get("return") != number:
                pass
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(patience)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._socket.close()

    def _send(self, name, **arguments):
        self._file.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        self._file.flush()

    def _receive(self):
        line = self._file.readline()
        if not line:
            raise ConnectionError("the machine is gone")
        return json.loads(line)

    def call(self, name, **arguments):
        self._send(name, **arguments)
        answer = self._receive()
        if "return" not in answer:
            raise Failed(f"{name}: {answer}")
        return answer["return"]


class Machine(Stack):
    def __init__(self, binaries):
        super().__init__(binaries)
        self.place = self.hardware.dir  # of the disk and of the TPM's state
        self.agent = os.path.join(self.place, "agent")
        self.console = os.path.join(self.place, "console")
        self.tpm_state = os.path.join(self.place, "tpm")
        self.binaries = binaries

    def make(self, mirror, installed=None, packages=None):
        """The disk, for the hospital that runs already."""
        root = os.path.join(self.dir, "root")
        image.make_root(root, mirror, packages)
        config = CONFIG.format(app=APP, server=SERVER, fhir_base=self.ready["fhir_base"])
        image.furnish(root, installed, people=(ALICE, BOB), config=config,
                      hospital_port=urlsplit(self.ready["fhir_base"]).port,
                      others=[f"{self.binaries}/tests/hsm/use_tpm_sessions", f"{ROOT}/tests/ehr/login.py",
                              f"{image.HERE}/person.py"])
        image.make_disk(root, self.place)
        shutil.rmtree(root)
        os.mkdir(self.tpm_state)
        for path in (self.tpm_state, *(f"{self.place}/{name}" for name in ("disk", "vmlinuz", "initrd"))):
            shutil.chown(path, SERVICE, SERVICE)

    def close(self):
        for name in ("qemu", "swtpm"):
            self.stop(name)
        super().close()

    # The power button.

    def power_on(self):
        """Gives the seconds until smartkeyd answers."""
        begun = time.monotonic()
        control = os.path.join(self.place, "tpm.ctrl")
        # Ends with the emulator, as the TPM's power does.
        self._spawn("swtpm", ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.tpm_state}",
                              "--ctrl", f"type=unixio,path={control}", "--terminate"])
        wait_for(lambda: os.path.exists(control), "swtpm's socket")
        self._spawn("qemu", [
            "qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024",
            "-nodefaults", "-display", "none", "-serial", f"file:{self.console}",
            "-kernel", f"{self.place}/vmlinuz", "-initrd", f"{self.place}/initrd",
            "-append", "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0",
            "-drive", f"file={self.place}/disk,format=raw,if=virtio,cache=unsafe",
            "-nic", "user,model=virtio-net-pci", "-device", "virtio-rng-pci", "-device", "virtio-serial",
            "-chardev", f"socket,id=agent,path={self.agent},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
            "-chardev", f"socket,id=tpm,path={control}", "-tpmdev", "emulator,id=tpm,chardev=tpm",
            "-device", "tpm-crb,tpmdev=tpm"])
        self._wait_for_boot(None)
        return time.monotonic() - begun

    def _spawn(self, name, args):
        with open(os.path.join(self.dir, name + ".log"), "ab") as log:
            # Ends with this process, even killed.
            self.processes[name] = self.spawn(SERVICE, ["setpriv", "--pdeathsig", "KILL", *args],
                                              stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _boot_id(self):
        """None: it does not answer, or is about to end."""
        with contextlib.suppress(OSError, Failed):
            return self.inside("root", "cat", "/proc/sys/kernel/random/boot_id", patience=BEFORE_ITS_END).out
        return None

    def _wait_for_boot(self, earlier):
        def booted():
            if self.processes["qemu"].poll() is not None:
                raise Failed(f"the machine is off:\n{self._tail('qemu.log')}")
            return self._boot_id() not in (None, earlier)
        wait_for(booted, "the machine to boot", PATIENCE)
        self.wait_for_daemon()

    def wait_for_daemon(self):
        def ready():
            status = self.ctl("root", "--json", "status")
            return status.code == 0 and "HARDWARE_BUSY" not in status.out
        wait_for(ready, "smartkeyd to answer", PATIENCE)

    def _order_end(self, how):
        with contextlib.suppress(OSError):  # it may be gone before it has answered
            self.inside("root", "systemctl", "--no-block", how, patience=BEFORE_ITS_END)

    def reboot(self):
        """As its administrator does it. The TPM is reset, and keeps what it keeps."""
        begun = time.monotonic()
        earlier = self._boot_id()
        self._order_end("reboot")
        self._wait_for_boot(earlier)
        return time.monotonic() - begun

    def power_off(self):
        self._order_end("poweroff")
        for name in ("qemu", "swtpm"):
            wait_for(lambda process=self.processes[name]: process.poll() is not None, f"{name} to end", PATIENCE)
            del self.processes[name]

    def clear_tpm(self):
        """What the firmware's menu does, while the machine is off."""
        path = os.path.join(self.place, "tpm.sock")
        self._spawn("swtpm", ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.tpm_state}",
                              "--server", f"type=unixio,path={path}", "--ctrl", f"type=unixio,path={path}.ctrl",
                              "--flags", "not-need-init,startup-clear"])
        wait_for(lambda: os.path.exists(path) and os.path.exists(path + ".ctrl"), "swtpm's sockets")
        clearing = self.spawn(SERVICE, ["tpm2_clear", "-T", f"swtpm:path={path}", "-c", "p"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said, _ = clearing.communicate(timeout=PATIENCE)
        if clearing.returncode != 0:
            raise Failed(f"tpm2_clear: {said}")
        self.stop("swtpm")

    # What happens inside.

    def inside(self, user, *args, stdin="", patience=PATIENCE):
        command = args if user == "root" else ("runuser", "-u", user, "--", *args)
        with Agent(self.agent, patience) as agent:
            pid = agent.call("guest-exec", path=command[0], arg=list(command[1:]),
                             **{"capture-output": True, "input-data": base64.b64encode(stdin.encode()).decode()})["pid"]

            def ended():
                time.sleep(0.1)  # asking costs the machine time
                status = agent.call("guest-exec-status", pid=pid)
                return status if status["exited"] else None
            status = wait_for(ended, f"the end of {' '.join(args)}", patience)
        out, err = (base64.b64decode(status.get(name, "")).decode(errors="replace") for name in ("out-data", "err-data"))
        return Result(list(args), status.get("exitcode", -1), out, err)

    def told(self, *args):
        """What a command of root's says; it must succeed."""
        result = self.inside("root", *args)
        if result.code != 0:
            raise Failed(str(result))
        return result.out.strip()

    def ctl(self, user, *args, stdin="", **_):
        admin = ["--socket", "/run/smartkeyd-admin/admin.sock"] if user == "root" else []
        return self.inside(user, "smartkeyctl", *admin, *args, stdin=stdin)

    def enroll(self, user=ALICE, command="enroll"):
        return self.inside(user, "python3", "/usr/local/bin/person.py", command, SERVER)

    def read_log(self):
        """For the reader of a failure."""
        with contextlib.suppress(OSError, Failed):
            return self.inside("root", "journalctl", "--no-pager", "-n", "60", "-u", "smartkeyd").out
        return self._tail(self.console)

    def _tail(self, name):
        path = os.path.join(self.dir, name)
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()[-3000:]
