# SPDX-License-Identifier: Apache-2.0
"""A user who wants what is another's: everything that he can call, with everything that he may have learnt, while the
owner goes about her business. What he may have: nothing. The number of attempts is printed."""

import contextlib
import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from stack import ALICE, BOB, SERVER
from story import StackTest

ATTEMPTS = 10_000
HERS = f"{ALICE}/{SERVER}"
CAROL = "mail"
# Users of every Debian, each with limits of its own.
GANG = [BOB, "proxy", "backup", "irc", "lp", "man", "uucp", "sync"]


class Adversary(StackTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        binaries = os.environ.get("SMARTKEY_BINARIES", "build/release")
        shutil.copy(os.path.join(binaries, "tests/integration/adversary"), cls.stack.bin)
        cls.program = os.path.join(cls.stack.bin, "adversary")

    def attack(self, user, count, known, prefix=()):
        return self.stack.spawn(user, [*prefix, self.program, "attempts", str(count), self.stack.socket, *known],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def outcome(self, process):
        out, err = process.communicate(timeout=900)
        self.assertEqual(process.returncode, 0, f"{err}\n{self.stack.read_log()}")
        tally = json.loads(out)
        self.assertEqual(tally["successes"], [], tally)
        return tally

    def begun(self):
        """An enrollment of hers that waits for the browser: its id, and the URL that she was to open."""
        process = self.stack.spawn(ALICE, self.stack.ctl_args(ALICE, ["enroll", SERVER, "--name", "waits", "--no-browser"]),
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        for line in process.stdout:
            if found := re.search(r"https?://\S+response_type=code\S*", line):
                return found.group(0)
        self.fail("no URL")

    def live_on(self, stop):
        """What the owner does meanwhile: all of it concerns others than the adversary."""
        while not stop.is_set():
            for args in (("share", SERVER, f"user:{CAROL}"), ("suspend", SERVER), ("resume", SERVER),
                         ("share", SERVER, "--private"), ("share", SERVER, "--open"), ("token", SERVER),
                         ("unshare", SERVER, f"user:{CAROL}"), ("edit", SERVER, "--label", "Mum")):
                self.stack.ctl(ALICE, *args)
            self.stack.enroll(ALICE, "--name", "passing")
            self.stack.ctl(ALICE, "delete", "passing", "--yes")

    def test_item_54_TenThousandAttempts_NoneSucceeds(self):
        wanted = ATTEMPTS // 10 if self.stack.sanitized() else ATTEMPTS  # a sanitized daemon takes minutes for all
        registration = self.enrolled()
        self.token()
        self.begun()
        asked = self.stack.ctl(CAROL, "--json", "request", HERS, "--no-wait")
        request = json.loads(asked.out.splitlines()[0])["answer"]["request_id"]
        enrollment = registration["generation"].get("enrollment_id", "")
        known = [registration["id"], SERVER, HERS, f"uid:{pwd.getpwnam(ALICE).pw_uid}/{SERVER}", "waits", f"{ALICE}/waits",
                 "passing", request, registration["generation"]["client_id"], registration["generation"]["key"]["thumbprint"],
                 enrollment or "enrollment", ""]
        stop = threading.Event()
        owner = threading.Thread(target=self.live_on, args=(stop,))
        owner.start()
        try:
            gang = [self.attack(user, wanted // len(GANG), known) for user in GANG]
            tallies = [self.outcome(process) for process in gang]
            # As root of a container, and as her uid in one that somebody else runs.
            inside = ["unshare", "--user", "--map-root-user"]
            tallies.append(self.outcome(self.attack(BOB, wanted // 20, known, prefix=inside)))
            uid = pwd.getpwnam(ALICE).pw_uid
            docker = ["unshare", "--pid", "--fork", "--kill-child", "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
            tallies.append(self.outcome(self.attack("root", wanted // 20, known, prefix=docker)))
        finally:
            stop.set()
            owner.join()
        attempts = sum(tally["attempts"] for tally in tallies)
        print(f"{attempts} attempts, {sum(t['held_back'] for t in tallies)} held back for their number, 0 successes")
        self.assertGreaterEqual(attempts, wanted)
        (hers,) = [one for one in self.registrations() if one["id"] == registration["id"]]
        self.assertEqual((hers["state"], hers["shares"]), ("ACTIVE", []))
        self.token()

    def test_item_54_TheSocketsAreForWhomTheyAreMeantAndNoCacheIsHitByAnother(self):
        self.enrolled()
        self.token()  # in the cache from here on
        asked = len(self.stack.token_requests())
        for user in (BOB, "root"):
            self.assert_refused(self.stack.ctl(user, "token", SERVER, "--public"), 1, "registration")
        self.assertEqual(len(self.stack.token_requests()), asked)
        self.assertEqual(os.stat(self.stack.socket).st_mode & 0o777, 0o666)
        admin = self.stack.spawn(BOB, self.stack.ctl_args("root", ["status"]), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = admin.communicate(timeout=60)
        self.assertEqual((admin.returncode, out), (3, ""), err)

    @contextlib.contextmanager
    def as_user(self, user):
        """This process with that user's uid and no other right, as far as files and sockets go."""
        entry = pwd.getpwnam(user)
        groups = os.getgroups()
        os.setgroups([])
        os.setegid(entry.pw_gid)
        os.seteuid(entry.pw_uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)

    def test_item_55_BytesThatAreNoCall_SignNothingAndTheDaemonServesOn(self):
        registration = self.enrolled()
        token = self.token()
        pid = self.stack.daemon_pid()
        random_ = random.Random(55)
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
        named = b"\x0a" + bytes([len(registration["id"])]) + registration["id"].encode()
        pieces = [b"", b"GET / HTTP/1.1\r\n\r\n", preface, preface[:10], preface + b"\xff" * 64, named * 100]
        pieces += [random_.randbytes(random_.randrange(1, 4000)) for _ in range(100)]
        pieces += [preface + random_.randbytes(random_.randrange(1, 4000)) for _ in range(100)]
        answers = b""
        for piece in pieces:
            answers += self.converse(piece)
        for path in ("/smartkey.v1.SigningService/SignJwt", "/smartkey.v1.SigningService/SignClientAssertion",
                     "/smartkey.v1.SigningService/Sign", "/smartkey.v1.AdminService/GetStatus", "/x"):
            with self.as_user(BOB), socket.socket(socket.AF_UNIX) as connection:
                connection.connect(self.stack.socket)
                answers += call_raw(connection, path, registration["id"])
        self.assertNotIn(token.encode(), answers)
        self.assertNotRegex(answers, rb"eyJ[A-Za-z0-9_-]{10,}\.eyJ")
        self.assertEqual(self.stack.daemon_pid(), pid)
        self.assertEqual(self.token(), token)

    def converse(self, data):
        """All that is answered to these bytes of Bob's, until the daemon closes or has nothing to say to them."""
        with self.as_user(BOB), socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.stack.socket)
            connection.settimeout(30)
            answer = b""
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65536):
                    answer += part
            except (BrokenPipeError, ConnectionResetError):
                pass
            return answer

    def test_SharedAndTakenBackInARace_NoTokenForARequestThatWasMadeAfterwards(self):
        registration = self.enrolled()
        self.token()
        thief = self.stack.spawn(BOB, [self.program, "tokens", self.stack.socket, registration["id"]],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        times = []
        reader = threading.Thread(target=lambda: times.extend(float(line) for line in thief.stdout))
        reader.start()
        shut = []  # from when the taking back was told until the next sharing was asked for
        opened = 0
        since = time.monotonic()
        for round_ in range(30 if self.stack.sanitized() else 150):
            shut.append((since, time.monotonic()))
            self.assertEqual(self.stack.ctl(ALICE, "share", SERVER, f"user:{BOB}").code, 0)
            before = len(times)
            if round_ % 3 == 0:  # or not even once
                end = time.monotonic() + 5
                while len(times) == before and time.monotonic() < end:
                    time.sleep(0.001)
                opened += len(times) > before
            self.assertEqual(self.stack.ctl(ALICE, "unshare", SERVER, f"user:{BOB}").code, 0)
            since = time.monotonic()
        thief.stdin.close()
        thief.wait(60)
        reader.join()
        stolen = [sent for sent in times for start, end in shut if start < sent < end]
        print(f"{len(times)} tokens while it was shared, {len(stolen)} while it was not")
        self.assertEqual(stolen, [])
        self.assertGreater(opened, 0)

    def test_TheRedirectOfAnothersLogin_IsWorthNothing(self):
        """He has the whole redirect: he had taken the port where her program was to listen, and she opened the page."""
        url = self.begun()
        redirect = subprocess.run(
            ["/usr/bin/python3", "-B", os.path.join(self.stack.ehr_code, "login.py"), url, "--user", "alice", "--patient",
             "pat-1"], capture_output=True, text=True, timeout=60, check=True).stdout.strip()
        query = urllib.parse.urlsplit(redirect).query
        self.assertIn("code=", query)
        code = urllib.parse.parse_qs(query)["code"][0]
        self.secrets.add(code)
        # To smartkeyd: enrollment ids are told to her alone; with any id the answer is that there is none.
        log = self.stack.read_log()
        ids = set(re.findall(r"enrollment=(\S+)", log)) | {"guessed"}
        for process in [self.attack(BOB, 200, sorted(ids))]:
            self.outcome(process)
        # To the server: a code without the verifier that smartkeyd keeps.
        parameters = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": parameters["redirect_uri"][0],
                "client_id": parameters["client_id"][0], "code_verifier": "x" * 43}
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{self.stack.ready['fhir_base'].rsplit('/', 1)[0]}/oauth/token", urllib.parse.urlencode(form).encode(), timeout=30)
        self.assertEqual(refused.exception.code, 400)
        refused.exception.close()
        self.assertEqual(self.registrations(BOB), [])

    def connected_by_bob(self, then=None):
        """A connection that a process of Bob's has made and left to us; `then` is what that process does afterwards
        instead of ending. Gives the socket and the pid, which is free unless `then` runs."""
        entry = pwd.getpwnam(BOB)
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            try:
                ours.close()
                os.setgroups([])
                os.setgid(entry.pw_gid)
                os.setuid(entry.pw_uid)
                with socket.socket(socket.AF_UNIX) as connected:
                    connected.connect(self.stack.socket)
                    socket.send_fds(theirs, [b"x"], [connected.fileno()])
                if then:
                    os.execv(then[0], then)
            finally:
                os._exit(0)
        theirs.close()
        _, (passed,), _, _ = socket.recv_fds(ours, 1, 1)
        ours.close()
        if not then:
            os.waitpid(child, 0)
        return socket.socket(fileno=passed), child

    def assert_gets_nothing(self, connection, registration):
        token = self.token()
        with connection:
            answer = call_raw(connection, "/smartkey.v1.TokenService/GetAccessToken", registration["id"])
        self.assertIn(b"grpc-status", answer)
        self.assertNotIn(token.encode(), answer)

    def test_ASocketThatWasPassedOn_SpeaksForWhoConnectedAndNotForWhoHasIt(self):
        registration = self.enrolled()
        connection, _ = self.connected_by_bob()  # he is gone, and root has the socket
        self.assert_gets_nothing(connection, registration)

    def test_ConnectedForkedAndTurnedIntoATrustedProgram_IsStillHim(self):
        registration = self.enrolled()
        trusted = [os.path.join(self.stack.bin, "smartkeyctl"), "--socket", self.stack.socket, "watch"]
        connection, pid = self.connected_by_bob(then=trusted)
        self.addCleanup(os.waitpid, pid, 0)
        self.addCleanup(os.kill, pid, signal.SIGKILL)
        self.assert_gets_nothing(connection, registration)

    def test_HisPidGoesToAProcessOfHersBeforeItIsLookedAt_SheLendsHimNothing(self):
        registration = self.enrolled()
        self.token()
        daemon = self.stack.processes["smartkeyd"]
        reused = 0
        for _ in range(10):
            daemon.send_signal(signal.SIGSTOP)
            try:
                connection, pid = self.connected_by_bob()
                with contextlib.suppress(OSError), open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as last:
                    last.write(str(pid - 1))
                hers = self.stack.spawn(ALICE, ["sleep", "60"])
            finally:
                daemon.send_signal(signal.SIGCONT)
            reused += hers.pid == pid
            try:
                self.assert_gets_nothing(connection, registration)
            finally:
                hers.kill()
                hers.wait()
        print(f"the pid was hers by then {reused} times of 10")


def call_raw(connection, path, registration):
    """One unary call with the registration in field 1, as HTTP/2 by hand; all that is answered."""
    def frame(kind, flags, stream, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def header(name, value):
        return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()

    headers = b"".join(header(*one) for one in ((":method", "POST"), (":scheme", "http"), (":path", path),
                                                (":authority", "localhost"), ("content-type", "application/grpc"),
                                                ("te", "trailers")))
    message = b"\x0a" + bytes([len(registration)]) + registration.encode()
    connection.settimeout(30)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, headers)
                       + frame(0, 1, 1, b"\0" + len(message).to_bytes(4, "big") + message))
    answer = b""
    while b"grpc-status" not in answer:
        part = connection.recv(65536)
        if not part:
            break
        answer += part
    return answer


if __name__ == "__main__":
    unittest.main()
