# SPDX-License-Identifier: Apache-2.0
"""What every release left on disk is read by this one, and its keys sign."""

import base64
import contextlib
import glob
import grp
import json
import os
import pwd
import re
import shutil
import sqlite3
import subprocess
import unittest

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from make_fixture import KINDS
from stack import ALICE, BOB, ROOT, SERVICE, Stack


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verify(jws, jwk):
    """Raises unless `jws` was signed with that key."""
    signed, _, signature = jws.rpartition(".")
    signature = decode(signature)
    number = {name: int.from_bytes(decode(jwk[name]), "big") for name in ("x", "y", "n", "e") if name in jwk}
    if jwk["kty"] == "RSA":
        key = rsa.RSAPublicNumbers(number["e"], number["n"]).public_key()
        key.verify(signature, signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return
    half = len(signature) // 2
    der = utils.encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))
    key = ec.EllipticCurvePublicNumbers(number["x"], number["y"], ec.SECP384R1()).public_key()
    key.verify(der, signed.encode(), ec.ECDSA(hashes.SHA384()))


def opened(path):
    """A database that nobody writes; read without a trace."""
    return contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True))


def version_of(path):
    with opened(path) as db:
        return db.execute("SELECT schema_version FROM meta").fetchone()[0]


def dump(path):
    with opened(path) as db:
        return list(db.iterdump())


def present_schema():
    with open(os.path.join(ROOT, "daemon/store/sqlite/schema.h"), encoding="utf-8") as file:
        return int(re.search(r"kSchemaVersion = (\d+);", file.read()).group(1))


SCHEMA = present_schema()


class Upgrade(unittest.TestCase):
    def test_TheStateOfEveryReleaseIsReadAndItsKeysSign(self):
        for kind, folder in KINDS.values():
            stored = sorted(glob.glob(os.path.join(ROOT, "tests/fixtures/*/*", folder)))
            self.assertTrue(stored, folder)
            for hardware in stored:
                with self.subTest(hardware), Stack(hardware=kind) as stack:
                    stack.hardware.load(hardware)
                    stack.give_to_service(os.path.join(os.path.dirname(hardware), "state"), stack.state)
                    stack.start()
                    listed = stack.ctl(ALICE, "--json", "list").json()["registrations"]
                    found = {r["name"]: r for r in listed}
                    self.assertEqual([(name, found[name]["state"]) for name in ("es384", "rs256")],
                                     [("es384", "ACTIVE"), ("rs256", "ACTIVE")])
                    self.assertEqual(found["rs256"]["label"], "a label")
                    self.check_what_later_ones_hold(stack, found.pop("paused", None), found["es384"])
                    for registration in found.values():
                        result = stack.ctl(ALICE, "assertion", registration["name"])
                        self.assertEqual(result.code, 0, f"{result}\n{stack.read_log()}")
                        jwks = json.loads(stack.ctl(ALICE, "jwks", registration["name"]).out)
                        verify(result.out.strip(), jwks["keys"][0])


    def check_what_later_ones_hold(self, stack, suspended, shared):
        """Fixtures of before schema 4 have neither."""
        if suspended is None:
            return
        self.assertEqual(suspended["suspended"]["why"], "lost laptop")
        self.assertEqual([share["principal"] for share in shared["shares"]], [f"user:{BOB}", "group:mail"])
        refused = stack.ctl(ALICE, "assertion", "paused")
        self.assertNotEqual(refused.code, 0)
        self.assertIn("suspended", refused.err)
        result = stack.ctl(BOB, "list")
        self.assertIn("es384", result.out, str(result))


class GoingBack(unittest.TestCase):
    PAGE = os.path.join(ROOT, "docs/upgrades.md")

    def commands(self):
        with open(self.PAGE, encoding="utf-8") as file:
            section = file.read().split("## Going back")[1]
        return section.split("```sh\n")[1].split("```")[0].splitlines()

    def follow(self, stack, commands, stop, kind):
        """Each line of the page but the last, with this stack's names in it."""
        self.assertTrue(commands[0].startswith("systemctl stop "), commands)
        self.assertEqual(commands[-1], "systemctl start smartkeyd.service")
        stop()
        group = grp.getgrgid(pwd.getpwnam(SERVICE).pw_gid).gr_name
        [copy] = glob.glob(f"{stack.state}/copies/{kind}-*.db")
        script = "\n".join(commands[1:-1])
        for word, here in (("/var/lib/smartkeyd", stack.state), ("-o smartkeyd", f"-o {SERVICE}"),
                           ("-g smartkeyd", f"-g {group}"), ("COPY", os.path.basename(copy))):
            self.assertIn(word, script)
            script = script.replace(word, here)
        subprocess.run(["/bin/sh", "-euxc", script], check=True, capture_output=True, text=True, timeout=60)
        entry = os.stat(f"{stack.state}/smartkeyd.db")
        self.assertEqual((entry.st_uid, entry.st_mode & 0o777), (pwd.getpwnam(SERVICE).pw_uid, 0o600))

    def check(self, stack, stop):
        stack.start()
        self.assertEqual(stack.enroll(ALICE, "--name", "before").code, 0)
        stack.stop("smartkeyd")
        shutil.rmtree(f"{stack.state}/copies")
        stack.start_daemon()
        stack.wait_for(lambda: glob.glob(f"{stack.state}/copies/smartkeyd-*.db"), "the copy of the day")
        self.assertEqual(stack.enroll(ALICE, "--name", "since").code, 0)
        self.follow(stack, self.commands(), stop, "smartkeyd")
        stack.start_daemon()
        status = stack.ctl("root", "--json", "store", "status").json()["store"]
        self.assertTrue(status["available"], stack.read_log())
        self.assertIn(f"{stack.state}/set-aside/newer", status["set_aside"])
        listed = stack.ctl(ALICE, "--json", "list").json()["registrations"]
        self.assertEqual([r["name"] for r in listed], ["before"])
        self.assertEqual(stack.ctl(ALICE, "token", "before").code, 0, stack.read_log())
        self.assertEqual(stack.enroll(ALICE, "--name", "afterwards").code, 0)

    def test_ThePageIsFollowedAfterAnUpgrade_TheOlderDatabaseIsBackAsItWas(self):
        hardware = os.path.join(ROOT, "tests/fixtures/0.1.0/daemon")
        fixture = os.path.join(hardware, "state/smartkeyd.db")
        with Stack() as stack:
            stack.hardware.load(os.path.join(hardware, "swtpm"))
            stack.give_to_service(os.path.join(hardware, "state"), stack.state)
            stack.start()
            self.assertEqual(version_of(f"{stack.state}/smartkeyd.db"), SCHEMA)
            [copy] = glob.glob(f"{stack.state}/copies/before-upgrade-*.db")
            self.assertIn(os.path.relpath(copy, stack.state), stack.ctl("root", "store", "status").out)
            self.assertEqual(stack.enroll(ALICE, "--name", "since").code, 0)
            self.follow(stack, self.commands(), lambda: stack.stop("smartkeyd"), "before-upgrade")
            self.assertEqual(version_of(f"{stack.state}/smartkeyd.db"), 1)
            self.assertEqual(dump(f"{stack.state}/smartkeyd.db"), dump(fixture))
            # And forward again.
            stack.start_daemon()
            listed = stack.ctl(ALICE, "--json", "list").json()["registrations"]
            self.assertEqual([(r["name"], r["state"]) for r in listed], [("es384", "ACTIVE"), ("rs256", "ACTIVE")])
            self.assertEqual(stack.ctl(ALICE, "assertion", "es384").code, 0, stack.read_log())

    def test_ThePageIsFollowed_TheCopyIsServed(self):
        with Stack() as stack:
            self.check(stack, lambda: stack.stop("smartkeyd"))

    def test_ThePageIsFollowedAfterAKill_TheCopyIsServed(self):
        def kill():
            stack.kill_daemon()
            self.assertGreater(os.path.getsize(f"{stack.state}/smartkeyd.db-wal"), 0)
        with Stack() as stack:
            self.check(stack, kill)

    def test_AfterACleanStop_TheLogIsEmpty(self):
        with Stack() as stack:
            stack.start()
            self.assertEqual(stack.enroll(ALICE).code, 0)
            self.assertGreater(os.path.getsize(f"{stack.state}/smartkeyd.db-wal"), 0)
            self.assertEqual(stack.stop("smartkeyd"), 0)
            self.assertEqual(os.path.getsize(f"{stack.state}/smartkeyd.db-wal"), 0)


if __name__ == "__main__":
    unittest.main()
