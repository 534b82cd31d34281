#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fast smartkeyd hands out tokens, as ratios to bare_daemon, to a smartkeyd with less to bear, or to bare_token.

    token_bench.py [--rounds N] [--calls N] [--record FILE] [FILTER]

Real processes as in tests/e2e/stack.py, as root. A missed target fails nothing, a call that fails does.
What the numbers mean: docs/PERFORMANCE.md.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))

from second_ehr import SecondEhr  # noqa: E402
from stack import ALICE, BOB, ROOT, SERVER, Failed, Stack, wait_for  # noqa: E402

BINARIES = os.environ.get("SMARTKEY_BINARIES", os.path.join(ROOT, "build/release"))
PROGRAMS = ("bare_daemon", "bare_token", "token_calls")
MANY = 10_000       # registrations
CROWD = 1_000       # callers at once
FLOODERS = 64       # callers of another user at once
CONNECTIONS = 250   # theirs: a user may have 256
COLD_DELAY = 2_000  # ms that the token endpoint takes


class BenchStack(Stack):
    """A Stack with the programs of this folder, and Alice's registration."""

    def __init__(self):
        super().__init__(BINARIES)
        for name in PROGRAMS:
            shutil.copy(os.path.join(BINARIES, "tests/bench", name), os.path.join(self.bin, name))
        self.helpers = []

    def close(self):
        for process in self.helpers:
            process.stdin.close()
            process.wait()
        super().close()

    def must(self, result):
        if result.code != 0:
            raise Failed(str(result))
        return result

    def start_enrolled(self, **config):
        self.start(**config)
        self.must(self.enroll())
        self.registration = self.registration_of(ALICE)

    def registration_of(self, user, server=SERVER):
        found = self.must(self.ctl(user, "--json", "list")).json()["registrations"]
        return next(one["id"] for one in found if one["server"] == server)

    def warm(self):
        """Alice's token is in the cache afterwards."""
        self.must(self.ctl(ALICE, "token", SERVER))

    def restart_daemon(self):
        self.stop("smartkeyd")
        self.start_daemon()

    def end_helper(self, process):
        self.helpers.remove(process)
        process.stdin.close()
        process.wait()

    def start_helper(self, user, *args, **options):
        process = self.spawn(user, [os.path.join(self.bin, args[0]), *args[1:]], stdin=subprocess.PIPE, **options)
        self.helpers.append(process)
        return process

    def start_bare(self):
        """Gives the socket of a bare_daemon."""
        path = os.path.join(self.run, "bare.sock")
        self.start_helper("daemon", "bare_daemon", path)
        wait_for(lambda: os.path.exists(path), "bare_daemon")
        return path

    def calls(self, *args):
        process = self.spawn(ALICE, [os.path.join(self.bin, "token_calls"), *map(str, args)], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = process.communicate()
        if process.returncode != 0:
            raise Failed(err)
        return json.loads(out)

    def cpu_seconds(self):
        """What the daemon has used of the processors since it was started."""
        with open(f"/proc/{self.daemon_pid()}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime

    def resident_kib(self):
        with open(f"/proc/{self.daemon_pid()}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


class Bench:
    def __init__(self, rounds, calls, pattern):
        self.rounds = rounds
        self.calls = calls
        self.pattern = re.compile(pattern)
        self.record = {}

    def wants(self, *names):
        return any(self.pattern.search(name) for name in names)

    def report(self, name, ours, bare, target, at_most=True, note=""):
        """`ours` and `bare`: a number a round. `target`: of their ratio."""
        ratios = [mine / other for mine, other in zip(ours, bare)]
        middle = statistics.median(ratios)
        low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (middle,) * 3
        missed = middle > target if at_most else middle < target
        sign = "<=" if at_most else ">="
        print(f"{name:32} {middle:6.3f} ({low:.3f}-{high:.3f})  {sign} {target:.2f}{'  MISSED' if missed else ''}")
        print(f"{'':32} ours {statistics.median(ours):.0f}, bare {statistics.median(bare):.0f} {note}", flush=True)
        self.record[name] = {"ours": ours, "bare": bare, "target": target, "at_most": at_most}

    def duel(self, stack, name, clients, calls, bare, unit, target, at_most=True):
        """`bare`: a registration and a socket."""
        rounds = stack.calls("duel", self.rounds, clients, self.calls or calls, stack.registration, stack.socket, *bare)
        p99 = "/".join(f"{statistics.median(one[side]['p99_us'] for one in rounds):.0f}" for side in ("ours", "bare"))
        self.report(name, [one["ours"][unit] for one in rounds], [one["bare"][unit] for one in rounds], target, at_most,
                    f"({unit}); p99 {p99} us")

    def beside_others(self, name, others, ours, bare, target, note):
        """Alice's calls while so many others ask as fast as they can, each side in turn. `ours` and `bare`: a stack, a
        socket, and who the others are and what they ask for."""
        times = ([], [])
        for _ in range(self.rounds):
            for (stack, socket_path, user, registration), mine in zip((ours, bare), times):
                helper = stack.start_helper(user, "token_calls", "nag", str(others), registration, socket_path)
                (one,) = stack.calls("duel", 1, 1, self.calls or 1_000, stack.registration, socket_path,
                                     stack.registration, socket_path)
                mine.append(one["ours"]["p50_us"])
                stack.end_helper(helper)
        self.report(name, *times, target, note=f"(p50_us); {others} {note}")

    # The benchmarks.

    def cached(self):
        if not self.wants("cached/1_client", "cached/64_clients"):
            return
        with BenchStack() as stack:
            stack.start_enrolled()
            stack.warm()
            bare = (stack.registration, stack.start_bare())
            if self.wants("cached/1_client"):
                self.duel(stack, "cached/1_client", 1, 2_000, bare, "p50_us", 1.15)
            if self.wants("cached/64_clients"):
                self.duel(stack, "cached/64_clients", 64, 6_400, bare, "per_s", 0.9, at_most=False)

    def first_callers(self):
        """Bare is one cold call, and then as many empty ones as there are callers."""
        name = "cold/1000_first_callers"
        if not self.wants(name):
            return
        with BenchStack() as stack:
            stack.start_enrolled()
            bare = stack.start_bare()
            stack.switches(delay_ms={"token": COLD_DELAY})
            ours, others = [], []
            for _ in range(self.rounds):
                stack.restart_daemon()
                alone = stack.calls("crowd", 1, 1, stack.registration, stack.socket)["elapsed_us"]
                empty = stack.calls("crowd", CONNECTIONS, CROWD, stack.registration, bare)["elapsed_us"]
                others.append(alone + empty)
                stack.restart_daemon()
                before = len(stack.token_requests())
                ours.append(stack.calls("crowd", CONNECTIONS, CROWD, stack.registration, stack.socket)["elapsed_us"])
                asked = len(stack.token_requests()) - before
                if asked != 1:
                    raise Failed(f"{CROWD} callers made {asked} token requests instead of one")
            self.report(name, ours, others, 1.3, note=f"(us); one token request, the server takes {COLD_DELAY} ms")

    def dead_server(self):
        """Bare is a smartkeyd all of whose servers answer, asked as often for a token that it has."""
        name = "cached/dead_server"
        if not self.wants(name):
            return
        with BenchStack() as calm, BenchStack() as stack:
            calm.start_enrolled()
            calm.warm()
            dead = self.let_a_server_die(stack)
            self.beside_others(name, 2, (stack, stack.socket, ALICE, dead),
                               (calm, calm.socket, ALICE, calm.registration), 1.15, "callers of the dead server")

    def hung_provider(self):
        """Bare is a smartkeyd whose hardware works."""
        name = "cached/hung_provider"
        if not self.wants(name):
            return
        with BenchStack() as calm, BenchStack() as stack:
            calm.start_enrolled()
            calm.warm()
            self.let_the_provider_hang(stack)
            self.duel(stack, name, 1, 2_000, (calm.registration, calm.socket), "p50_us", 1.15)

    def let_a_server_die(self, stack):
        stack.start_ehr()
        other = SecondEhr(stack)
        try:
            stack.hardware.start()
            stack.write_config(extra=f"""
[[server]]
name = "dead"
fhir_base = "{other.ready["fhir_base"]}"
allow_loopback_http = true
""")
            stack.start_daemon()
            for server in (SERVER, "dead"):
                stack.must(stack.enroll(server=server))
        finally:
            other.close()
        stack.registration = stack.registration_of(ALICE)
        dead = stack.registration_of(ALICE, "dead")
        stack.restart_daemon()
        stack.warm()
        return dead

    def let_the_provider_hang(self, stack):
        stack.start_enrolled()
        stack.must(stack.enroll(BOB))
        bobs = stack.registration_of(BOB)
        stack.restart_daemon()
        stack.warm()
        stack.processes["swtpm"].send_signal(signal.SIGSTOP)
        stack.start_helper(BOB, "token_calls", "nag", "2", bobs, stack.socket)

    def flooded(self):
        """What Alice has of a daemon that Bob asks as fast as he can; bare is the same on a bare_daemon."""
        name = "cached/another_user_floods"
        if not self.wants(name):
            return
        with BenchStack() as stack:
            stack.start_enrolled()
            stack.must(stack.enroll(BOB))
            bobs = stack.registration_of(BOB)
            stack.warm()
            bare = stack.start_bare()
            self.beside_others(name, FLOODERS, (stack, stack.socket, BOB, bobs), (stack, bare, BOB, bobs), 2.0,
                               "callers of another user")

    def refused_connections(self):
        """The daemon's own time for a connection that it refuses; bare is one that is served and makes one call."""
        name = "connections/refused"
        if not self.wants(name):
            return
        with BenchStack() as stack:
            stack.start_enrolled()
            ours, others = [], []
            few = max(1, min(self.rounds, 3))
            for _ in range(few):
                others.append(cpu_for(stack, 300, pause=1 / 150) * 1e6)
                cpu_for(stack, 600)  # more than Bob may make at once
                ours.append(cpu_for(stack, 20_000 if self.rounds > 1 else 500) * 1e6)
                time.sleep(4)  # he may connect again
            self.report(name, ours, others, 0.2, note="(us of processor time for each)")

    def many_registrations(self):
        """Bare is a smartkeyd with one."""
        name = f"cached/{MANY}_registrations"
        if not self.wants(name):
            return
        with BenchStack() as one, BenchStack() as stack:
            one.start_enrolled()
            one.warm()
            stack.start_enrolled()
            have = 1
            for wanted in (1, MANY // 10, MANY // 2, MANY):
                stack.stop("smartkeyd")
                multiply(os.path.join(stack.state, "smartkeyd.db"), stack.registration, range(have, wanted))
                have = wanted
                times = []
                for _ in range(5):
                    stack.stop("smartkeyd")
                    start = time.monotonic()
                    stack.start_daemon(wait=False)
                    wait_for(lambda: stack.ctl(ALICE, "version").code == 0, "smartkeyd to answer")
                    times.append(time.monotonic() - start)
                stack.wait_for_daemon()
                print(f"{wanted:6} registrations: answers {statistics.median(times) * 1000:.0f} ms after its start, "
                      f"{stack.resident_kib() / 1024:.1f} MiB", flush=True)
            stack.warm()
            self.duel(stack, name, 1, 2_000, (one.registration, one.socket), "p50_us", 1.1)

    def command(self):
        name = "command/smartkeyctl_token"
        if not self.wants(name):
            return
        with BenchStack() as stack:
            stack.start_enrolled()
            stack.warm()
            commands = [f"{stack.bin}/smartkeyctl --socket {stack.socket} token {stack.registration}",
                        f"{stack.bin}/bare_token {stack.socket} {stack.registration}"]
            path = os.path.join(stack.make_user_dir("times", ALICE), "times.json")
            ours, bare = [], []
            for _ in range(self.rounds):
                process = stack.spawn(ALICE, ["hyperfine", "-N", "--warmup", "2", "--runs", "10", "--export-json", path,
                                              *commands], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                _, err = process.communicate()
                if process.returncode != 0:
                    raise Failed(err)
                with open(path, encoding="utf-8") as file:
                    mine, other = json.load(file)["results"]
                ours.append(mine["median"] * 1e6)
                bare.append(other["median"] * 1e6)
            self.report(name, ours, bare, 1.3, note="(us)")


def cpu_for(stack, count, pause=0.0):
    """Bob connects so many times and makes a call each time; what one costs the daemon."""
    script = os.path.join(stack.bin, "connect_often.py")
    if not os.path.exists(script):
        shutil.copy(os.path.join(HERE, "connect_often.py"), script)
    before = stack.cpu_seconds()
    process = stack.spawn(BOB, ["/usr/bin/python3", "-B", script, stack.socket, str(count), str(pause)])
    if process.wait() != 0:
        raise Failed("connect_often.py")
    return max(stack.cpu_seconds() - before, 1e-4) / count


def multiply(database, registration, numbers):
    """Registrations like that one, with the same key, under other names."""
    with sqlite3.connect(database) as connection:
        for table, key in (("registrations", "id"), ("generations", "registration_id")):
            cursor = connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", (registration,))
            columns = [column[0] for column in cursor.description]
            row = dict(zip(columns, cursor.fetchone()))
            for number in numbers:
                copy = dict(row, **{key: f"{registration}-{number}"})
                for column in ("name", "client_id", "enrollment_id"):
                    if copy.get(column):
                        copy[column] += f"-{number}"
                connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(columns))})",
                                   [copy[column] for column in columns])
    connection.close()


def main():
    parser = argparse.ArgumentParser(description="Speed of tokens as ratios: docs/PERFORMANCE.md")
    parser.add_argument("--rounds", type=int, default=20, help="how often the two sides take turns")
    parser.add_argument("--calls", type=int, default=0, help="a round; default: each benchmark's own number")
    parser.add_argument("--record", help="writes the figures of every round there, as JSON")
    parser.add_argument("filter", nargs="?", default="", help="a regular expression of names")
    options = parser.parse_args()
    bench = Bench(options.rounds, options.calls, options.filter)
    print(f"{os.cpu_count()} processors; {options.rounds} alternated rounds: median of their ratios (quartiles), target")
    for one in (bench.cached, bench.first_callers, bench.dead_server, bench.hung_provider,
                bench.flooded, bench.refused_connections, bench.many_registrations, bench.command):
        one()
    if options.record:
        with open(options.record, "w", encoding="utf-8") as file:
            json.dump(bench.record, file, indent=1)


if __name__ == "__main__":
    main()
