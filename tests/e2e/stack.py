# SPDX-License-Identifier: Apache-2.0
"""The whole product on real parts, in a temporary directory: a TPM or a token, the sandbox EHR, smartkeyd and
smartkeyctl, each as a user of its own and none of them root.

    with Stack(binaries) as stack:
        stack.start()
        stack.enroll(ALICE)
        print(stack.ctl(ALICE, "token", "sandbox").out)

Must be run as root, because it starts processes as several users: accounts that every Debian has play
the parts, since nothing outside the temporary directory is touched. Needs only the standard library.
"""

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

from hardware import Tpm

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

SERVICE = "daemon"    # runs smartkeyd, and owns the TPM
EHR = "www-data"      # runs the hospital's server
ALICE = "games"       # a person
BOB = "news"          # another one

# The users that every system has are those of services: for smartkeyd they shall be people here.
PEOPLE = """
[[policy]]
allow_enroll = ["people", "user:games", "user:news", "user:mail", "user:lp"]
"""

APP = "org.example.growth-chart"
SERVER = "sandbox"

PATIENCE = 60  # seconds until a condition that must come true counts as never coming


class Failed(Exception):
    """Something that must hold does not; the message is for the reader of a log."""


def wait_for(condition, what, patience=PATIENCE):
    """Polls `condition` until it is true, and gives its value."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"waited {patience} s for {what}")
        time.sleep(0.02)


class Result:
    """What a command said and how it ended."""

    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"{' '.join(self.args)}: exit {self.code}\n--- out\n{self.out}--- err\n{self.err}"


class Stack:
    service = SERVICE
    daemon_environment = {}  # what smartkeyd finds beside the usual
    failed = Failed
    wait_for = staticmethod(wait_for)

    def __init__(self, binaries=None, keep=False, hardware=Tpm, daemon="daemon/app/smartkeyd"):
        self.check_rights()
        programs = self.find_programs(binaries, daemon)
        self.keep = keep
        self.dir = tempfile.mkdtemp(prefix="smartkey-")
        os.chmod(self.dir, 0o755)
        self.processes = {}
        self.ready = None
        self.ehr_config = None
        # Copied, so that users who may not look into the checkout can run them.
        self.bin = self._make_dir("bin", None)
        for program, name in zip(programs, ("smartkeyd", "smartkeyctl")):
            shutil.copy(program, os.path.join(self.bin, name))
        self.ehr_code = shutil.copytree(os.path.join(ROOT, "tests/ehr"), os.path.join(self.dir, "ehr-code"),
                                        ignore=shutil.ignore_patterns("__pycache__"))
        self.hardware = hardware(self, self._make_dir("hardware", SERVICE))
        self.state = self._make_dir("state", SERVICE)
        self.run = self._make_dir("run", SERVICE, 0o755)
        self.ehr_dir = self._make_dir("ehr", EHR, 0o755)
        self.config = os.path.join(self.dir, "smartkeyd.toml")
        self.socket = os.path.join(self.run, "smartkeyd.sock")
        self.admin_socket = os.path.join(self.run, "admin.sock")
        self.daemon_log = os.path.join(self.dir, "smartkeyd.log")

    # What is otherwise where everything is one user's (sandbox/smartkey-sandbox).

    def check_rights(self):
        if os.getuid() != 0:
            raise Failed("needs root, to start processes as several users")

    def find_programs(self, binaries, daemon):
        """The paths of smartkeyd and smartkeyctl."""
        binaries = binaries or os.environ.get("SMARTKEY_BINARIES", os.path.join(ROOT, "build/release"))
        # A sanitized smartkeyctl takes a second to start, some thousand times: scripts/test names another one.
        ctl = os.environ.get("SMARTKEY_CTL", os.path.join(binaries, "clients/ctl/smartkeyctl"))
        programs = [os.path.join(binaries, daemon), ctl]
        for program in programs:
            if not os.path.exists(program):
                raise Failed(f"{program} is not there: build first, or say where with --binaries or SMARTKEY_BINARIES")
        return programs

    def account(self, user):
        return pwd.getpwnam(user)

    def becoming(self, user):
        """What makes a new process that user's."""
        entry = self.account(user)
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.keep:
            self.close()

    def close(self):
        for name in ("smartkeyd", "ehr", "swtpm"):
            self.stop(name)
        shutil.rmtree(self.dir, ignore_errors=True)

    def make_user_dir(self, name, user):
        """A directory that is `user`'s alone."""
        path = self._make_dir(name, user)
        os.chmod(path, 0o700)
        return path

    def _make_dir(self, name, user, mode=0o755):
        path = os.path.join(self.dir, name)
        os.mkdir(path, 0o700 if user and mode == 0o755 and name in ("state", "hardware") else mode)
        if user:
            entry = self.account(user)
            os.chown(path, entry.pw_uid, entry.pw_gid)
        return path

    def give_to_service(self, source, target):
        """Copies the folder's content into `target`: the service's user owns it then, and nobody else reads it."""
        shutil.copytree(source, target, dirs_exist_ok=True)
        entry = self.account(SERVICE)
        for folder, _, files in os.walk(target):
            for path, mode in [(folder, 0o700)] + [(os.path.join(folder, name), 0o600) for name in files]:
                os.chmod(path, mode)
                os.chown(path, entry.pw_uid, entry.pw_gid)

    # Processes.

    def spawn(self, user, args, **options):
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
        environment.update(options.pop("env", {}))
        options.setdefault("start_new_session", self.keep)
        return subprocess.Popen(args, cwd="/", env=environment, **self.becoming(user), **options)

    def stop(self, name, how=signal.SIGTERM, patience=15):
        process = self.processes.pop(name, None)
        if process is None:
            return None
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdin is not None:
            process.stdin.close()
        return process.returncode

    def start(self, ehr_config=None, **config):
        """`ehr_config`: the sandbox's configuration file (tests/ehr/README.md), kept for its later starts."""
        self.ehr_config = ehr_config
        self.hardware.start()
        self.start_ehr()
        self.write_config(**config)
        self.start_daemon()

    def start_ehr(self, port=0):
        ready = os.path.join(self.ehr_dir, "ready.json")
        if os.path.exists(ready):
            os.unlink(ready)
        configured = []
        if self.ehr_config is not None:
            path = os.path.join(self.ehr_dir, "config.json")
            with open(path, "w", encoding="utf-8") as file:
                json.dump(self.ehr_config, file)
            configured = ["--config", path]
        with open(os.path.join(self.dir, "ehr.log"), "ab") as log:
            self.processes["ehr"] = self.spawn(
                EHR,
                ["/usr/bin/python3", "-B", os.path.join(self.ehr_code, "sandbox.py"), "--port", str(port),
                 "--ready-file", ready, "--log-file", os.path.join(self.ehr_dir, "requests.log"), *configured,
                 # Dies with this process, even killed; unless it is to be kept.
                 *([] if self.keep else ["--until-stdin-closes"])],
                stdin=subprocess.DEVNULL if self.keep else subprocess.PIPE, stdout=log,
                stderr=subprocess.STDOUT)
        wait_for(lambda: os.path.exists(ready), "the sandbox EHR")
        with open(ready, encoding="utf-8") as file:
            self.ready = json.load(file)

    def write_config(self, extra="", server_extra="", key_provider=None, fhir_base=None, policy=PEOPLE):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"""
[daemon]
socket = "{self.socket}"
admin_socket = "{self.admin_socket}"
state_dir = "{self.state}"
admin_group = "root"
apps_dir = "{self.dir}/apps.d"

[key_provider]
{key_provider or self.hardware.key_provider()}

[[app]]
id = "{APP}"
name = "Growth Chart"
redirect_uris = ["http://127.0.0.1/callback"]
scopes = ["launch/patient", "patient/*.rs", "openid", "fhirUser"]
[[app.client]]
servers = ["*"]
client_id = "growth-chart"
software_id = "growth-chart-software"

[[server]]
name = "{SERVER}"
fhir_base = "{fhir_base or self.ready["fhir_base"]}"
allow_loopback_http = true
{server_extra}
{extra}
{policy}
""")

    def start_daemon(self, wait=True):
        self.processes["smartkeyd"] = self.make_daemon()
        if wait:
            self.wait_for_daemon()

    def make_daemon(self):
        """smartkeyd's process; a service of systemd's in suite_under_unit.py."""
        with open(self.daemon_log, "ab") as log:
            return self.spawn(SERVICE, [os.path.join(self.bin, "smartkeyd"), "--config", self.config],
                              env=self.daemon_environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_for_daemon(self):
        process = self.processes["smartkeyd"]

        def answers():
            if process.poll() is not None:
                raise Failed(f"smartkeyd ended with {process.returncode}:\n{self.read_log()}")
            return self.ctl(ALICE, "version").code == 0
        wait_for(answers, "smartkeyd to answer")

        def has_looked_at_its_hardware():
            status = self.ctl("root", "--json", "status")
            return status.code != 0 or "HARDWARE_BUSY" not in status.out
        wait_for(has_looked_at_its_hardware, "smartkeyd to have opened its hardware, or not")

    def daemon_pid(self):
        """None: it does not run."""
        process = self.processes.get("smartkeyd")
        return None if process is None else process.pid

    def sanitized(self):
        """Is smartkeyd built with a sanitizer? It is slow and large then, and keeps what is freed, on purpose."""
        with open(f"/proc/{self.daemon_pid()}/maps", encoding="utf-8") as file:
            return "libasan" in file.read()

    def kill_daemon(self):
        """SIGKILL: nothing is put in order."""
        return self.stop("smartkeyd", signal.SIGKILL)

    def read_log(self):
        with open(self.daemon_log, encoding="utf-8", errors="replace") as file:
            return file.read()

    # What people do.

    def ctl_args(self, user, args):
        path = self.admin_socket if user == "root" and "--public" not in args else self.socket
        args = [arg for arg in args if arg != "--public"]
        return [os.path.join(self.bin, "smartkeyctl"), "--socket", path, *args]

    def ctl(self, user, *args, stdin="", patience=PATIENCE):
        """Runs smartkeyctl as `user`; as root it speaks to the admin socket (unless "--public" is among args)."""
        command = self.ctl_args(user, args)
        process = self.spawn(user, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        try:
            out, err = process.communicate(stdin, timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise Failed(f"{' '.join(command)} did not end\n{out}\n{err}\n{self.read_log()}") from None
        return Result(["smartkeyctl", *args], process.returncode, out, err)

    def enroll(self, user=ALICE, *args, patient="pat-1", login=(), server=SERVER, on_url=None, command="enroll"):
        """smartkeyctl enroll (or renew), with the person's part done by a script that fills in the server's pages."""
        command = self.ctl_args(user, (command, server, "--no-browser", *args))
        process = self.spawn(user, command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, bufsize=1)
        said = []
        url = None
        for line in process.stdout:
            said.append(line)
            found = re.search(r"https?://\S+response_type=code\S*|https?://\S+[?&]code_challenge=\S*", line)
            if found:
                url = found.group(0)
                break
        if url is not None:
            if on_url:
                on_url(url)
            browser = self.spawn(user, ["/usr/bin/python3", "-B", os.path.join(self.ehr_code, "login.py"), url,
                                        "--user", "alice", "--patient", patient, "--follow", *login],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True)
            try:
                said.append(f"[browser] {browser.communicate(timeout=PATIENCE)[0]}")
            except subprocess.TimeoutExpired:
                browser.kill()
                said.append("[browser] did not end\n")
        try:
            rest, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            rest, _ = process.communicate()
            raise Failed(f"enroll did not end\n{''.join(said)}{rest}\n{self.read_log()}") from None
        said.append(rest)
        return Result(["smartkeyctl", "enroll", server, *args], process.returncode, "".join(said), "")

    # The hospital's side.

    def control(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.ready['control']}/{path}", data=data,
                                         headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def switches(self, **switches):
        return self.control("switches", switches)

    def requests(self, path):
        return [line for line in self.control("log") if line["path"].endswith(path)]

    def token_requests(self):
        return [line for line in self.requests("/token")
                if line.get("grant_type", "").endswith("jwt-bearer")]

    def initial_token(self, **options):
        return self.control("initial_token", {"client_id": "growth-chart", "user": "alice",
                                              "patient": "pat-1", **options})

    def fhir_get(self, path, token, user=ALICE):
        """Reads from the FHIR base in another process of `user`, as an app would; the token goes by stdin."""
        code = ("import sys,urllib.request as u;t=sys.stdin.read().strip();"
                "r=u.Request(sys.argv[1],headers={'Authorization':'Bearer '+t,'Accept':'application/fhir+json'});"
                "print(u.urlopen(r,timeout=30).read().decode())")
        process = self.spawn(user, ["/usr/bin/python3", "-c", code, f"{self.ready['fhir_base']}/{path}"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = process.communicate(token, timeout=PATIENCE)
        if process.returncode != 0:
            raise Failed(f"GET {path}: {err.strip().splitlines()[-1] if err.strip() else 'failed'}")
        return json.loads(out)
