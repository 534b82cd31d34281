# SPDX-License-Identifier: Apache-2.0
"""The hardware a Stack has its keys in: a TPM (swtpm) or a PKCS#11 token (SoftHSM2).

Each kind has the same methods, so that one story can be told of both:
    start, reboot, replace   power it on; off and on; put another of its make in its place
    stop                     take it away
    save, load               copy what it stores into a folder, and from one: nobody uses it meanwhile
    key_provider()           the lines of [key_provider] that name it
"""

import base64
import contextlib
import os
import shutil
import subprocess

PIN = "2718281828"
TOKEN_LABEL = "clinic"
SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"


class Tpm:
    """swtpm, run by the service's user. Its transient state ends with its process."""

    name = "TPM"
    attributes = ("fixedtpm", "fixedparent", "sensitivedataorigin", "sign")
    not_attributes = ("decrypt",)

    def __init__(self, stack, directory):
        self.stack = stack
        self.dir = directory
        self.tcti = f"swtpm:path={os.path.join(directory, 'swtpm.sock')}"

    def start(self):
        path = os.path.join(self.dir, "swtpm.sock")
        for old in (path, path + ".ctrl"):
            if os.path.exists(old):
                os.unlink(old)
        self.stack.processes["swtpm"] = self.stack.spawn(
            self.stack.service,
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.dir}",
             "--server", f"type=unixio,path={path}", "--ctrl", f"type=unixio,path={path}.ctrl",
             "--flags", "not-need-init,startup-clear"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.stack.wait_for(lambda: os.path.exists(path) and os.path.exists(path + ".ctrl"), "swtpm's sockets")

    def stop(self):
        self.stack.stop("swtpm")

    def reboot(self):
        """A power cycle: everything transient is gone, TPM2_Startup(CLEAR) comes next."""
        self.stop()
        self.start()

    def replace(self):
        """Another chip."""
        self.stop()
        for name in os.listdir(self.dir):
            os.unlink(os.path.join(self.dir, name))
        self.start()

    def save(self, folder):
        self.stop()
        shutil.copytree(self.dir, folder, ignore=lambda _, names: [n for n in names if "sock" in n or n.startswith(".")])

    def load(self, folder):
        self.stack.give_to_service(folder, self.dir)

    def key_provider(self):
        return f'type = "tpm"\ntcti = "{self.tcti}"\n'

    def view_of_key(self, shown):
        """The attributes that are set, by the TPM's own tools and not by us."""
        path = os.path.join(self.stack.dir, "key.pub")
        with open(path, "wb") as file:
            file.write(base64.b64decode(shown["generation"]["key"]["tpm_public"]))
        text = subprocess.run(["tpm2_print", "-t", "TPM2B_PUBLIC", path], check=True, capture_output=True,
                              text=True).stdout
        line = next(line.strip() for line in text.splitlines() if "fixedtpm" in line)
        return line, set(line.split("value:")[1].strip().split("|"))


class Token:
    """A SoftHSM2 token. The module runs in a process of its own (p11-kit server), a child of the daemon."""

    name = "token"
    attributes = ("sensitive", "always sensitive", "never extractable", "local")
    not_attributes = ("extractable",)

    def __init__(self, stack, directory):
        self.stack = stack
        self.dir = directory
        self.conf = os.path.join(directory, "softhsm2.conf")
        self.pin_file = os.path.join(directory, "pin")

    def start(self):
        if os.path.exists(self.conf):
            return  # it is plugged in
        tokens = os.path.join(self.dir, "tokens")
        self._write(self.conf, f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        self.write_pin(PIN)
        if os.path.exists(tokens):
            return  # loaded
        self._run(["mkdir", "-m", "700", tokens])
        self._run(["softhsm2-util", "--init-token", "--free", "--label", TOKEN_LABEL, "--so-pin", PIN, "--pin", PIN])

    def _write(self, path, text):
        self._run(["sh", "-c", 'umask 077; cat > "$0"', path], stdin=text)

    def _run(self, args, stdin=""):
        process = self.stack.spawn(self.stack.service, args, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, env={"SOFTHSM2_CONF": self.conf})
        out, _ = process.communicate(stdin)
        if process.returncode != 0:
            raise self.stack.failed(f"{args[0]} ended with {process.returncode}:\n{out}")
        return out

    def stop(self):
        """Unplugged: the module finds no token any more, and its process has ended."""
        os.rename(os.path.join(self.dir, "tokens"), os.path.join(self.dir, "unplugged"))
        os.mkdir(os.path.join(self.dir, "tokens"))
        self.kill_module()

    def plug_in(self):
        os.rmdir(os.path.join(self.dir, "tokens"))
        os.rename(os.path.join(self.dir, "unplugged"), os.path.join(self.dir, "tokens"))

    def save(self, folder):
        shutil.copytree(os.path.join(self.dir, "tokens"), folder)

    def load(self, folder):
        self.stack.give_to_service(folder, os.path.join(self.dir, "tokens"))

    def reboot(self):
        self.kill_module()

    def replace(self):
        shutil.rmtree(os.path.join(self.dir, "tokens"))
        os.unlink(self.conf)
        self.start()
        self.kill_module()

    def module_pid(self):
        """The process the module runs in, a child of the daemon's. None: there is none now."""
        daemon = self.stack.daemon_pid()
        if daemon is None:
            return None
        for task in os.listdir(f"/proc/{daemon}/task"):
            try:
                with open(f"/proc/{daemon}/task/{task}/children", encoding="ascii") as file:
                    children = file.read().split()
            except FileNotFoundError:
                continue  # the thread has ended meanwhile
            if children:
                return int(children[0])
        return None

    def kill_module(self):
        pid = self.module_pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):  # its end was under way
                os.kill(pid, 9)
        return pid

    def key_provider(self):
        return f"""type = "pkcs11"
uri = "pkcs11:token={TOKEN_LABEL}"
module = "{SOFTHSM}"
pin_file = "{self.pin_file}"
environment = ["SOFTHSM2_CONF={self.conf}"]
"""

    def write_pin(self, pin):
        self._write(self.pin_file, pin + "\n")

    def _tool(self, *args):
        return self._run(["pkcs11-tool", "--module", SOFTHSM, "--token-label", TOKEN_LABEL, "--login", "--pin", PIN,
                          *args])

    def objects(self):
        """What is in the token, as OpenSC's tool prints it."""
        return self._tool("--list-objects")

    def make_key(self, label, key_id):
        self._tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", label, "--id", key_id)

    def delete_key(self, label_end):
        """Both halves of the key whose label ends so, behind smartkeyd's back."""
        label = next(line.split("label:")[1].strip() for line in self.objects().splitlines()
                     if "label:" in line and line.strip().endswith(label_end))
        for half in ("privkey", "pubkey"):
            self._tool("--delete-object", "--type", half, "--label", label)

    def view_of_key(self, shown):
        """The private key's access attributes, by OpenSC and not by us."""
        text = self.objects()
        private = text[text.index("Private Key Object"):]
        line = next(line.strip() for line in private.splitlines() if "Access:" in line)
        return line, {word.strip() for word in line.split("Access:")[1].split(",")}
