# SPDX-License-Identifier: Apache-2.0
"""Runs inside a fresh Debian whose first process is systemd (packages_in_nspawn.py): the life of the packages, from
the first installation to the purge. Prints a line for each step; the last one is OK.

    packaged.py DIRECTORY       which has the packages of three versions in old/, new/ and next/"""

import glob
import grp
import json
import os
import pwd
import stat
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit

from booted import check, systemctl
from enrolling import Enrolling
from stack import SERVER, SERVICE, Stack, wait_for

PACKAGES = sys.argv[1]
STATE = "/var/lib/smartkeyd"
CONFIG = "/etc/smartkeyd/smartkeyd.toml"
UNITS = ("smartkeyd.service", "smartkeyd.socket", "smartkeyd-admin.socket")
ALICE, BOB, CAROL = "alice", "bob", "carol"  # with a login shell: people
PATIENT = "pat-1"
# What a registration is called, and what a server sends without being asked: to be looked for where it must not be.
NAME, LABEL = "heart-of-rosalind", "Grandmother Rosalind"
PLANTED = {"refresh_token": "planted-refresh-token", "client_secret": "planted-client-secret",
           "registration_access_token": "planted-registration-access-token"}


class PackagedStack(Stack):
    """What is installed, with a software TPM and the sandbox EHR beside it."""

    def __init__(self):
        os.environ["TMPDIR"] = "/srv"  # the service has a /tmp of its own
        super().__init__()
        self.bin, self.config, self.state = "/usr/bin", CONFIG, STATE
        self.socket, self.admin_socket = "/run/smartkeyd/smartkeyd.sock", "/run/smartkeyd-admin/admin.sock"

    def find_programs(self, binaries, daemon):
        return []

    def account(self, user):
        return pwd.getpwnam("smartkeyd" if user == SERVICE else user)

    def start_daemon(self, wait=True):
        systemctl("restart", "smartkeyd.service")
        self.wait_for_daemon()

    def wait_for_daemon(self):
        wait_for(lambda: self.ctl(ALICE, "version").code == 0, "smartkeyd to answer")

    def read_log(self):
        return journal()


def journal(since="-10min"):
    return subprocess.run(["journalctl", "--no-pager", "-o", "cat", "-u", "smartkeyd.service", "--since", since],
                          check=False, text=True, stdout=subprocess.PIPE).stdout


def journal_fields():
    """What the journal keeps of the service, each with its fields."""
    lines = subprocess.run(["journalctl", "--no-pager", "-o", "json", "--all", "-u", "smartkeyd.service"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout
    return lines, [json.loads(line) for line in lines.splitlines()]


def dpkg(*args):
    """What it says."""
    done = subprocess.run(["dpkg", "--force-confold", *args], check=False, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    check(done.returncode == 0, f"dpkg {args[0]}{'' if done.returncode == 0 else ': ' + done.stdout}")
    return done.stdout


def install(version):
    said = dpkg("--install", *sorted(glob.glob(f"{PACKAGES}/{version}/smartkey*.deb")))
    wait_for(lambda: systemctl("show", "-P", "ActiveState", "smartkeyd.service") == "active" or version == "old",
             "the service to be active")
    return said


def main_pid():
    return int(systemctl("show", "-P", "MainPID", "smartkeyd.service"))


def mode_and_owners(path):
    entry = os.stat(path)
    return (f"{stat.S_IMODE(entry.st_mode):04o}", pwd.getpwuid(entry.st_uid).pw_name,
            grp.getgrgid(entry.st_gid).gr_name)


def first_installation():
    install("new")
    for unit in UNITS:
        check(systemctl("is-active", unit) == "active" and systemctl("is-enabled", unit) == "enabled",
              f"{unit} is active and enabled")
    for path, wanted in {
            "/run/smartkeyd/smartkeyd.sock": ("0666", "root", "root"),
            "/run/smartkeyd-admin/admin.sock": ("0660", "root", "smartkey-admin"),
            STATE: ("0700", "smartkeyd", "smartkeyd"),
            CONFIG: ("0644", "root", "root"),
            "/etc/smartkeyd/smartkeyd.toml.d": ("0755", "root", "root"),
            "/usr/lib/smartkeyd/apps.d": ("0755", "root", "root")}.items():
        check(mode_and_owners(path) == wanted, f"{path} {wanted} {mode_and_owners(path)}")
    with open(f"/proc/{main_pid()}/status", encoding="ascii") as file:
        status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    check(status["Uid"].split()[0] == str(pwd.getpwnam("smartkeyd").pw_uid), "it runs as smartkeyd")
    check(str(grp.getgrnam("tss").gr_gid) in status["Groups"].split(), "and in the group tss")
    check(int(status["CapBnd"], 16) == 0 and int(status["CapEff"], 16) == 0, "without any capability")
    said = subprocess.run(["smartkeyctl", "--json", "status"], check=True, text=True, stdout=subprocess.PIPE).stdout
    check('"ABSENT"' in said, "it starts where there is no TPM, and says so")
    checked = subprocess.run(["smartkeyd", "--check-config"], check=False, text=True, stdout=subprocess.PIPE)
    check(checked.returncode == 0, f"its configuration is right: {checked.stdout.strip()}")
    exposure = subprocess.run(["systemd-analyze", "security", "--no-pager", "--threshold=15", "smartkeyd.service"],
                              check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    check(exposure.returncode == 0, f"systemd-analyze security: {exposure.stdout.strip().splitlines()[-1]}")
    beside()
    # As an earlier removal left it, of registrations that were deleted since.
    subprocess.run(["runuser", "-u", "smartkeyd", "--", "tee", f"{STATE}/held-at-removal"], check=True, text=True,
                   input="registrations: 7, hardware keys: 7 (tpm)\n", stdout=subprocess.DEVNULL)
    said = dpkg("--purge", "smartkeyd", "smartkeyctl")
    check("registrations:" not in said, "who has no registration is told of none")
    check(not os.path.exists(STATE) and not os.path.exists("/etc/smartkeyd"), "a purge leaves nothing")


def beside():
    """The packages that smartkeyd does without."""
    dpkg("--install", *sorted(glob.glob(f"{PACKAGES}/beside/*.deb")))
    for path in ("/usr/include/smartkey.h", "/usr/share/man/man1/smartkeyctl.1.gz", "/usr/share/man/man8/smartkeyd.8.gz",
                 "/usr/share/man/man5/smartkeyd.toml.5.gz", "/usr/share/bash-completion/completions/smartkeyctl",
                 "/usr/share/zsh/vendor-completions/_smartkeyctl"):
        check(os.path.exists(path), path)
    loaded = subprocess.run([sys.executable, "-c", "import ctypes; ctypes.CDLL('libsmartkey.so.1').smartkey_client_connect"],
                            check=False)
    check(loaded.returncode == 0, "libsmartkey can be loaded")
    ran = subprocess.run(
        ["runuser", "-u", ALICE, "--", "smartkey-sandbox", "run", "--", "sh", "-c",
         'smartkeyctl token "$SMARTKEY_SANDBOX_REGISTRATION"'],
        check=False, text=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    check(ran.returncode == 0 and ran.stdout.strip(), f"alice has a sandbox {ran.stdout if ran.returncode else ''}")
    dpkg("--purge", "smartkey-sandbox", "libsmartkey-dev", "libsmartkey1")


def enroll_unmistakably(stack):
    """Gives what of it is secret, or tells who a patient is."""
    answer = {"value": "override", "set": PLANTED}
    stack.switches(registration_answer=answer, token_answer={**answer, "grant": "any"})
    with Enrolling(stack, "--no-browser", "--name", NAME, "--label", LABEL, user=ALICE) as enrolling:
        login = ["/usr/bin/python3", "-B", f"{stack.ehr_code}/login.py", enrolling.url, "--patient", PATIENT]
        browser = stack.spawn(ALICE, login, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        redirect = browser.communicate()[0].strip()
        enrolling.paste(redirect)
        enrolled = enrolling.wait()
    check(enrolled.code == 0, f"and enrolls {enrolled if enrolled.code else ''}")
    query = parse_qs(urlsplit(redirect).query)
    return {NAME, *LABEL.split(), PATIENT, query["code"][0], query["state"][0], *PLANTED.values(),
            *(token["access_token"] for token in stack.control("tokens"))}


def the_journal(stack, secrets):
    """What can be looked for in it; and what is in it never, nor in anything else that administrators are shown."""
    (registration,) = stack.ctl(ALICE, "--json", "list").json()["registrations"]
    token = stack.ctl(ALICE, "token", NAME).out.strip()
    assertion = stack.ctl(ALICE, "assertion", NAME).out.strip()
    stack.switches(token_error="invalid_grant")
    stack.ctl(ALICE, "report-rejected", NAME, stdin=token)
    stack.ctl(ALICE, "token", NAME)
    stack.ctl(CAROL, "token", registration["id"])
    wait_for(lambda: any(entry.get("SMARTKEY_REASON") == "REFUSED_BY_SERVER"
                         and entry.get("SMARTKEY_REGISTRATION") == registration["id"] for entry in journal_fields()[1]),
             "the journal to have the refusal")
    text, entries = journal_fields()
    check(True, "the journal has a refusal with its registration and reason as fields")
    head, key = next(((entry["SMARTKEY_AUDIT_HEAD"], entry["SMARTKEY_KEY"]) for entry in reversed(entries)
                      if "SMARTKEY_AUDIT_HEAD" in entry), (None, None))
    check(head is not None and key == "none", f"and the head of the audit log, unsigned as at each start {head}")
    verified = stack.ctl("root", "audit", "--verify", "--anchor", head)
    check(verified.code == 0, f"which the log still has {verified if verified.code else ''}")
    # The journal of everything, in the bytes that it keeps.
    whole = subprocess.run(["journalctl", "--no-pager", "-o", "export"], check=True, stdout=subprocess.PIPE).stdout
    shown = {"the journal of smartkeyd": text, "the whole journal": whole.decode(errors="replace"),
             "the metrics": stack.ctl("root", "metrics").out, "status": stack.ctl("root", "--json", "status").out,
             "doctor": stack.ctl("root", "doctor").out, "report": stack.ctl("root", "report", "--output", "-").out,
             "the audit log": stack.ctl("root", "--json", "audit", "--all").out}
    for file in glob.glob(f"{STATE}/audit/*"):
        with open(file, encoding="utf-8") as written:
            shown[file] = written.read()
    check(all(shown.values()), f"there is something to be searched: {', '.join(shown)}")
    check(registration["id"] in shown["the audit log"] and registration["id"] in shown["the whole journal"],
          "a registration is named by its id")
    secrets = secrets | {token, assertion}
    check(all(secrets), f"{len(secrets)} secrets and names are looked for")
    found = {f"{secret[:6]}.. in {place}" for place, words in shown.items() for secret in secrets
             for piece in secret.split(".") if piece in words}
    check(not found, f"and none of them is anywhere {sorted(found) if found else ''}")
    for user in (BOB, CAROL):
        seen = stack.ctl(user, "--json", "audit")
        check(seen.code == 0 and registration["id"] not in seen.out and ALICE not in seen.out,
              f"nor does {user}'s audit log have anything of alice's {seen if seen.code else ''}")


def life(stack):
    def list_of(user):
        return [(r["name"], r["state"]) for r in stack.ctl(user, "--json", "list").json()["registrations"]]

    def token_of(user, registration=SERVER):
        result = stack.ctl(user, "token", registration)
        check(result.code == 0, f"{user} gets a token{'' if result.code == 0 else f' {result} {journal()}'}")
        return result.out.strip()

    def nothing_is_lost(what, do):
        before, asked, pid = token_of(ALICE), len(stack.token_requests()), main_pid()
        do()
        stack.wait_for_daemon()
        check(main_pid() != pid, f"another process after {what}")
        check(token_of(ALICE) == before, "with the same token")
        check(len(stack.token_requests()) == asked, "and no token request")

    stack.start(policy="")
    enrolled = stack.enroll(ALICE)
    check(enrolled.code == 0, f"enrolled with 0.1.0 {enrolled if enrolled.code else ''}")
    token_of(ALICE)

    install("new")
    stack.wait_for_daemon()
    check(list_of(ALICE) == [(SERVER, "ACTIVE")], "the upgrade finds the registration of 0.1.0")
    token_of(ALICE)
    shared = stack.ctl(ALICE, "share", SERVER, f"user:{BOB}")
    check(shared.code == 0, f"alice shares it with bob {shared if shared.code else ''}")
    (his,) = stack.ctl(BOB, "--json", "list").json()["registrations"]
    check(token_of(BOB, his["id"]) == token_of(ALICE), "which is alice's")
    refused = stack.ctl(CAROL, "token", his["id"])
    check(refused.code != 0 and not refused.out and list_of(CAROL) == [], "carol has nothing")

    nothing_is_lost("a restart", lambda: systemctl("restart", "smartkeyd.service"))
    nothing_is_lost("an upgrade", lambda: install("next"))
    nothing_is_lost("the same version again", lambda: install("next"))

    started = time.strftime("%Y-%m-%d %H:%M:%S")
    install("old")
    wait_for(lambda: "newer" in journal(started), "0.1.0 to refuse the newer database")
    line = next(line for line in journal(started).splitlines() if "newer" in line)
    check(True, f"a downgrade is refused: {line.strip()[:200]}")
    install("next")
    stack.wait_for_daemon()
    check(list_of(ALICE) == [(SERVER, "ACTIVE")], "and nothing of the database is changed by it")
    token_of(ALICE)

    secrets = {token_of(ALICE), stack.ctl(ALICE, "assertion", SERVER).out.strip()}
    said = dpkg("--remove", "smartkeyd")
    check("registrations: 1, hardware keys: 1 (tpm)." in said and "stay" in said, f"a removal tells what stays\n{said}")
    check("activated" not in said, "and no socket could have started the service again")
    check(os.path.exists(f"{STATE}/smartkeyd.db"), "and the database does")
    check(stack.ctl(ALICE, "list").code == 6, "smartkeyctl says that there is no smartkeyd")
    install("next")
    stack.wait_for_daemon()
    token_of(ALICE)
    check(len(stack.requests("/register")) == 1, "there has been one registration from first to last")

    said = dpkg("--purge", "smartkeyd")
    check("hardware keys: 1 (tpm): every" in said and "PKCS#11 token stay" in said, f"a purge tells what goes\n{said}")
    check(not os.path.exists(STATE), "and it is gone")
    install("next")
    metrics = "/run/smartkeyd-metrics/metrics.sock"
    stack.write_config(policy="", extra=f'[metrics]\nsocket = "{metrics}"\n')
    with open(CONFIG, encoding="utf-8") as file:
        text = file.read()
    with open(CONFIG, "w", encoding="utf-8") as file:
        file.write(text.replace('admin_group = "root"', 'admin_group = "smartkey-admin"'))
    stack.start_daemon()
    check(mode_and_owners(metrics) == ("0660", "smartkeyd", "smartkey-admin"),
          f"its metrics are for the administrators {mode_and_owners(metrics)}")
    check(list_of(ALICE) == [], "a new installation begins anew")
    check(stack.ctl("root", "log-level", "debug").code == 0, "it logs all that it can")
    the_journal(stack, secrets | enroll_unmistakably(stack))


def main():
    start = time.monotonic()
    try:
        for user in (ALICE, BOB, CAROL):
            subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", user], check=True)
        print("== first_installation", flush=True)
        first_installation()
        print("== life", flush=True)
        install("old")
        stack = PackagedStack()
        try:
            life(stack)
        finally:
            stack.close()
        print(f"OK {time.monotonic() - start:.0f} s", flush=True)
    except Exception as error:  # whatever it was: for the reader outside
        print(journal(), flush=True)
        print(f"FAILED {error!r}", flush=True)


if __name__ == "__main__":
    main()
