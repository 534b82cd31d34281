# SPDX-License-Identifier: Apache-2.0
"""The database of a live installation is damaged, lost, shut in, or moved to another computer."""

import contextlib
import glob
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import unittest

from small_disk import SmallDisk
from stack import ALICE, BOB, SERVER, SERVICE, Stack, wait_for


class StoreTest(unittest.TestCase):
    """Each test has a stack of its own."""

    def setUp(self):
        self.stack = Stack()
        self.addCleanup(self.stack.close)
        self.database = os.path.join(self.stack.state, "smartkeyd.db")
        self.copies = os.path.join(self.stack.state, "copies")

    def ctl(self, user, *args, code=0):
        result = self.stack.ctl(user, *args)
        self.assertEqual(result.code, code, f"{result}\n{self.stack.read_log()}")
        return result

    def store(self):
        return self.ctl("root", "--json", "store", "status").json()["store"]

    def enroll(self, *args):
        result = self.stack.enroll(ALICE, *args)
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")

    def wait_for_copy(self):
        wait_for(lambda: self.store()["copies"], "the copy of the day")

    def restart(self, *damage):
        self.stack.stop("smartkeyd")
        for one in damage:
            one()
        self.stack.start_daemon()

    def start_with_a_registration_and_its_copy(self):
        """One is enrolled before the copy of the day, `later` after it. Gives the first one's thumbprint."""
        self.stack.start()
        self.enroll()
        self.restart(lambda: shutil.rmtree(self.copies))
        self.wait_for_copy()
        self.enroll("--name", "later")
        return self.thumbprint(SERVER)

    def thumbprint(self, name):
        return json.loads(self.ctl(ALICE, "jwks", name).out)["keys"][0]["kid"]

    def fold_log(self):
        """What the log has would hide what is done to the file."""
        with contextlib.closing(sqlite3.connect(self.database)) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def files(self):
        """All but the audit log, which goes on whatever happens to the database."""
        found = {}
        for path in glob.glob(os.path.join(self.stack.state, "**"), recursive=True):
            if os.path.isfile(path) and not path.endswith(("/lock", "-shm")) and "/audit/" not in path:
                found[os.path.relpath(path, self.stack.state)] = self.content(path)
        return found

    @staticmethod
    def content(path):
        with open(path, "rb") as file:
            return file.read()

    def state_bytes(self):
        return b"".join(self.files().values())

    def assert_refuses(self, *words):
        """Nothing is served and nothing is begun; everybody is told why, and the administrator what to do."""
        before = self.files()
        registered = len(self.stack.requests("/register"))
        for args in (["list"], ["show", SERVER], ["token", SERVER], ["assertion", SERVER], ["delete", SERVER, "--yes"],
                     ["enroll", SERVER, "--no-browser"], ["renew", SERVER, "--no-browser"]):
            result = self.ctl(ALICE, *args, code=4)
            for word in words:
                self.assertIn(word, result.err + result.out, str(result))
        self.ctl("root", "list", "--all", code=4)
        version = self.ctl(ALICE, "--json", "version").json()
        self.assertFalse(version["store"]["available"])
        self.assertEqual(version["store"]["cause"]["reason"], "STORE_UNAVAILABLE")
        status = self.ctl("root", "--json", "status").json()
        self.assertFalse(status["store"]["available"])
        for word in words:
            self.assertIn(word, status["store"]["problem"] + status["store"]["cause"]["remedy"])
        wait_for(lambda: self.ctl("root", "--json", "status").json()["hardware"]["state"] == "READY", "the TPM")
        self.assertEqual(len(self.stack.requests("/register")), registered)
        self.assertEqual(self.files(), before)

    def assert_administrator_is_told(self):
        """In words, with the file and the commands; afterwards also where the old files are."""
        for args in (["status"], ["store", "status"]):
            told = self.ctl("root", *args)
            for word in ("NOT AVAILABLE", self.database, "smartkeyctl store recover", "smartkeyctl store reset"):
                self.assertIn(word, told.out, str(told))

    def assert_start_is_refused(self, *words):
        ended = subprocess.run(
            [os.path.join(self.stack.bin, "smartkeyd"), "--config", self.stack.config],
            user=pwd.getpwnam(SERVICE).pw_uid, group=pwd.getpwnam(SERVICE).pw_gid, extra_groups=[],
            cwd="/", capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(ended.returncode, 1, ended.stderr)
        for word in words:
            self.assertIn(word, ended.stderr)

    def assert_second_daemon_refuses(self):
        self.assert_start_is_refused("another smartkeyd")

    def assert_recovered(self, thumbprint, names):
        self.assertEqual(sorted(r["name"] for r in self.ctl(ALICE, "--json", "list").json()["registrations"]), names)
        for name in names:
            token = self.ctl(ALICE, "token", name).out.strip()
            self.assertEqual(self.stack.fhir_get("Patient/pat-1", token)["id"], "pat-1")
        self.assertEqual(self.thumbprint(SERVER), thumbprint)


class DamagedDatabase(StoreTest):
    def overwrite(self):
        with open(self.database, "r+b") as file:
            file.write(os.urandom(3 * 4096))

    def page_of(self, name):
        """The offset of a table's or index's first page."""
        with contextlib.closing(sqlite3.connect(self.database)) as db:
            page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (name,)).fetchone()[0]
        return (page - 1) * 4096

    def flip(self, offset):
        with open(self.database, "r+b") as file:
            file.seek(offset)
            page = bytes(byte ^ 0xff for byte in file.read(4096))
            file.seek(offset)
            file.write(page)

    def check(self, damage, names):
        """`names`: the registrations that come back."""
        thumbprint = self.start_with_a_registration_and_its_copy()
        self.restart(self.fold_log, damage)
        self.assert_refuses("damaged", "smartkeyctl store recover", "smartkeyctl store reset", self.database)
        self.assert_administrator_is_told()
        self.assert_second_daemon_refuses()
        damaged = self.files()
        tokens = len(self.stack.token_requests())
        result = self.ctl("root", "--json", "store", "recover").json()["recovery"]
        self.assertEqual(result["from_damaged_file"] + result["from_copy"], len(names), result)
        # Without a restart, with the keys that were there.
        self.assert_recovered(thumbprint, names)
        self.assertEqual(len(self.stack.token_requests()), tokens + len(names))
        aside = result["set_aside"]
        self.assertTrue(aside.startswith(os.path.join(self.stack.state, "set-aside/")), aside)
        self.assertIn(aside, self.ctl("root", "store", "status").out)
        for name in ("smartkeyd.db", "smartkeyd.db-wal"):
            if name in damaged:
                with open(os.path.join(aside, name), "rb") as file:
                    self.assertEqual(file.read(), damaged[name])
        self.enroll("--name", "new")
        self.restart()
        self.assert_recovered(thumbprint, sorted([*names, "new"]))
        return result

    def test_HeaderAndPagesAreOverwritten_TheCopyIsTakenUp(self):
        result = self.check(self.overwrite, [SERVER])
        self.assertTrue(result["incomplete"])
        self.assertIn("made_at", result["copy"])

    def test_FileIsCutShort_TheCopyIsTakenUp(self):
        self.check(lambda: os.truncate(self.database, 5000), [SERVER])

    def test_FileIsDeleted_NoNewOneIsMadeAndTheCopyIsTakenUp(self):
        self.check(lambda: os.unlink(self.database), [SERVER])

    def test_FileIsEmpty_TheCopyIsTakenUp(self):
        self.check(lambda: os.truncate(self.database, 0), [SERVER])

    def test_HeaderAloneIsGarbage_TheCopyIsTakenUp(self):
        def damage():
            with open(self.database, "r+b") as file:
                file.write(b"garbage!" * 12)
        self.check(damage, [SERVER])

    def test_ATablesPageIsFlipped_TheCopyIsTakenUp(self):
        self.check(lambda: self.flip(self.page_of("registrations")), [SERVER])

    def test_OnlyAnIndexIsFlipped_NothingIsLost(self):
        result = self.check(lambda: self.flip(self.page_of("generations_by_client")), ["later", SERVER])
        self.assertEqual(result["from_damaged_file"], 2)
        self.assertFalse(result["incomplete"])

    def test_DamagedWhileItRuns_MemoryIsServedAndRecovered(self):
        thumbprint = self.start_with_a_registration_and_its_copy()
        # A change by another hand makes SQLite read again what is on disk.
        with contextlib.closing(sqlite3.connect(self.database)) as db:
            db.execute("PRAGMA user_version = 1")
            db.commit()
        self.fold_log()
        for table in ("registrations", "generations"):
            self.flip(self.page_of(table))
        self.check_serves_from_memory(thumbprint)

    def test_RemovedWhileItRuns_MemoryIsServedAndRecovered(self):
        thumbprint = self.start_with_a_registration_and_its_copy()
        os.unlink(self.database)
        self.check_serves_from_memory(thumbprint)

    def check_serves_from_memory(self, thumbprint):
        registered = len(self.stack.requests("/register"))
        refused = self.stack.enroll(ALICE, "--name", "refused")
        self.assertEqual(refused.code, 4, str(refused))
        self.assertIn("smartkeyctl store recover", refused.err + refused.out)
        self.assertEqual(len(self.stack.requests("/register")), registered)
        # The copies are no reason to take anything back that is known.
        self.assert_recovered(thumbprint, ["later", SERVER])
        self.assertIn("damaged", self.store()["problem"])
        self.assertIn(self.database, self.store()["problem"])
        self.ctl("root", "store", "reset", "--yes", code=2)
        result = self.ctl("root", "--json", "store", "recover").json()["recovery"]
        self.assertEqual((result["from_memory"], result["from_copy"]), (2, 0), result)
        self.assertTrue(self.store()["available"])
        self.enroll("--name", "new")
        self.restart()
        self.assert_recovered(thumbprint, ["later", "new", SERVER])

    def test_KilledWhileItRecovers_TheNextOneFinishesIt(self):
        thumbprint = self.start_with_a_registration_and_its_copy()
        self.restart(self.fold_log, self.overwrite)
        damaged = self.files()["smartkeyd.db"]
        # Wherever it is just then: each step by itself is in tests/daemon/store.
        command = self.stack.spawn("root", self.stack.ctl_args("root", ["store", "recover"]),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: glob.glob(self.database + ".*") or command.poll() is not None, "the recovery to begin")
        self.stack.kill_daemon()
        command.wait(timeout=60)
        self.stack.start_daemon()
        if not self.store()["available"]:
            self.ctl("root", "store", "recover")
        self.assert_recovered(thumbprint, [SERVER])
        aside = glob.glob(os.path.join(self.stack.state, "set-aside", "*", "smartkeyd.db"))
        self.assertTrue(any(self.content(path) == damaged for path in aside), aside)

    def test_NothingIsLeft_ResetBeginsAnewAndKeepsTheOldFiles(self):
        self.start_with_a_registration_and_its_copy()
        self.restart(self.fold_log, self.overwrite, lambda: shutil.rmtree(self.copies))
        damaged = self.files()["smartkeyd.db"]
        refused = self.ctl("root", "store", "recover", code=4)
        self.assertIn("store reset", refused.err)
        self.ctl("root", "store", "reset", code=2)
        self.assertEqual(self.files()["smartkeyd.db"], damaged)
        folder = self.ctl("root", "--json", "store", "reset", "--yes").json()["set_aside"]
        with open(os.path.join(folder, "smartkeyd.db"), "rb") as file:
            self.assertEqual(file.read(), damaged)
        self.assertEqual(self.ctl(ALICE, "--json", "list").json()["registrations"], [])
        self.enroll()
        self.ctl(ALICE, "token", SERVER)

    def test_InOrder_NothingIsReplaced(self):
        self.stack.start()
        self.enroll()
        self.ctl("root", "store", "recover", code=2)
        self.ctl("root", "store", "reset", "--yes", code=2)
        self.ctl(ALICE, "store", "recover", code=1)  # the public socket does not know it
        self.ctl(ALICE, "token", SERVER)
        self.assertFalse(os.path.exists(os.path.join(self.stack.state, "set-aside")))
        # What the package says when it is removed.
        code, _, said = self.count()
        self.assertEqual(code, 1)
        self.assertIn("another smartkeyd", said)
        self.stack.stop("smartkeyd")
        self.assertEqual(self.count()[:2], (0, "registrations: 1, hardware keys: 1 (tpm)\n"))

    def count(self):
        process = self.stack.spawn(SERVICE, [os.path.join(self.stack.bin, "smartkeyd"), "--config", self.stack.config,
                                             "--count-registrations"],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, said = process.communicate(timeout=60)
        return process.returncode, out, said

    def test_NewerSchema_IsSaidAndLeftAlone(self):
        self.start_with_a_registration_and_its_copy()

        def from_the_future():
            with contextlib.closing(sqlite3.connect(self.database)) as db:
                db.execute("UPDATE meta SET schema_version = 99")
                db.commit()
        self.restart(from_the_future)
        result = self.ctl(ALICE, "token", SERVER, code=4)
        self.assertIn("schema version 99", result.err)
        self.assertIn("install the newer smartkeyd", result.err)
        self.ctl("root", "store", "recover", code=4)
        self.assertEqual(self.stack.enroll(ALICE, "--name", "new").code, 4)
        told = self.ctl("root", "store", "reset", "--yes")
        folder = self.store()["set_aside"][0]
        self.assertIn(folder, told.err)
        self.assertTrue(os.path.exists(os.path.join(folder, "smartkeyd.db")))
        self.enroll("--name", "new")


class DirectoryThatCannotBeUsed(StoreTest):
    """tmpfs: full, read-only; and permissions."""

    def mount(self):
        self.disk = SmallDisk(self.stack.state, SERVICE)
        self.addCleanup(self.disk.close)
        self.addCleanup(self.stack.stop, "smartkeyd")

    def wait_until_available(self):
        wait_for(lambda: self.store()["available"], "the database to be read after all")

    def test_DiskIsFullAtTheFirstStart_ItStartsAndGoesOnWhenThereIsSpace(self):
        self.mount()
        self.disk.fill()
        self.stack.start()
        self.assert_refuses("full")
        self.assert_second_daemon_refuses()
        self.disk.free()
        self.wait_until_available()
        self.enroll()
        self.ctl(ALICE, "token", SERVER)

    def test_DiskIsFullWhileItRuns_TokensGoOnAndNothingIsLost(self):
        self.mount()
        self.stack.start()
        self.enroll()
        self.disk.fill()
        self.ctl(ALICE, "token", SERVER, "--min-valid", "3500s")
        result = self.stack.enroll(ALICE, "--name", "second")
        self.assertNotEqual(result.code, 0)
        self.assertIn("full", result.out)
        self.assertFalse(self.store()["available"])
        self.disk.free()
        self.enroll("--name", "third")
        self.assertTrue(self.store()["available"])
        self.restart()
        names = [r["name"] for r in self.ctl(ALICE, "--json", "list").json()["registrations"]]
        self.assertEqual(sorted(names), sorted([SERVER, "third"]))

    def test_ReadOnlyAtStart_ItStartsAndGoesOnWhenItIsWritable(self):
        self.mount()
        self.stack.start()
        self.enroll()
        self.restart(self.disk.set_read_only)
        # What was read is served; whether SQLite can read there depends on which files it left.
        self.assertFalse(self.store()["available"])
        self.assertIn("read-only", self.store()["problem"])
        refused = self.stack.enroll(ALICE, "--name", "second")
        self.assertEqual(refused.code, 4, str(refused))
        self.assertIn("read-only", refused.err + refused.out)
        self.assert_second_daemon_refuses()
        self.disk.set_read_only(False)
        self.wait_until_available()
        self.ctl(ALICE, "token", SERVER)
        self.enroll("--name", "second")
        self.restart()
        self.ctl(ALICE, "token", "second")

    def test_DirectoryBelongsToSomebodyElse_ItSaysSoAndGoesOnWhenItIsMended(self):
        self.stack.start()
        self.enroll()
        self.restart(lambda: os.chown(self.stack.state, 0, 0))
        self.assert_refuses("Permission denied", "state directory")
        entry = pwd.getpwnam(SERVICE)
        os.chown(self.stack.state, entry.pw_uid, entry.pw_gid)
        self.wait_until_available()
        self.ctl(ALICE, "token", SERVER)

    def test_OthersCouldWriteTheDirectory_ItDoesNotStartUntilItIsMended(self):
        self.stack.start()
        self.enroll()
        self.stack.stop("smartkeyd")
        state, entry = self.stack.state, pwd.getpwnam(SERVICE)
        # As `daemon` would find what another user made there, or could have.
        for uid, mode, why in ((entry.pw_uid, 0o777, "can be written by everybody"),
                               (entry.pw_uid, 0o770, "can be written by the group"),
                               (pwd.getpwnam(BOB).pw_uid, 0o755, f"belongs to {BOB}")):
            os.chown(state, uid, entry.pw_gid)
            os.chmod(state, mode)
            self.assert_start_is_refused(f"the state directory {state} {why}", f"chmod 0700 {state}'", "'ls -lA'")
            self.assertEqual(os.stat(state).st_mode & 0o777, mode)
        os.chown(state, entry.pw_uid, entry.pw_gid)
        os.chmod(state, 0o755)  # they could only read its names
        self.stack.start_daemon()
        self.assertEqual(os.stat(state).st_mode & 0o777, 0o700)
        self.ctl(ALICE, "token", SERVER)

    def test_FileIsReadableForNobody_ItIsMendedAtTheStart(self):
        self.start_with_a_registration_and_its_copy()
        self.restart(lambda: os.chmod(self.database, 0))
        self.ctl(ALICE, "token", "later")
        self.assertEqual(os.stat(self.database).st_mode & 0o777, 0o600)

    def test_FileBelongsToSomebodyElse_ItSaysSoAndIsNotTakenForDamage(self):
        self.start_with_a_registration_and_its_copy()
        self.restart(lambda: (os.chown(self.database, 0, 0), os.chmod(self.database, 0o600)))
        self.assertFalse(self.store()["available"])
        self.assertNotIn("damaged", self.store()["problem"])
        self.ctl("root", "store", "recover", code=4)
        entry = pwd.getpwnam(SERVICE)
        os.chown(self.database, entry.pw_uid, entry.pw_gid)
        self.wait_until_available()
        self.ctl(ALICE, "token", "later")


class CopiesAndMoves(StoreTest):
    def test_DeletedRegistration_IsInNoCopyEither(self):
        self.start_with_a_registration_and_its_copy()
        client = self.ctl(ALICE, "--json", "show", SERVER).json()["registration"]["generation"]["client_id"]
        with contextlib.closing(sqlite3.connect(glob.glob(os.path.join(self.copies, "*.db"))[0])) as copy:
            blob = copy.execute("SELECT key_blob FROM generations WHERE client_id = ?", (client,)).fetchone()[0]
        self.assertIn(blob, self.state_bytes())
        self.ctl(ALICE, "delete", SERVER, "--yes")
        left = self.state_bytes()
        self.assertNotIn(blob, left)
        self.assertNotIn(client.encode(), left)
        self.assertEqual(len(self.store()["copies"]), 1)
        self.ctl(ALICE, "token", "later")

    def test_StartedOnAnotherComputer_IsSaidUntilItIsAdopted(self):
        self.stack.start()
        self.enroll()

        def move():
            with contextlib.closing(sqlite3.connect(self.database)) as db:
                self.assertTrue(db.execute("SELECT machine_identity FROM meta").fetchone()[0])
                db.execute("UPDATE meta SET machine_identity = 'of another one'")
                db.commit()
        self.restart(move)
        self.assertIn("written on another computer", self.stack.read_log())
        status = self.ctl("root", "store", "status")
        self.assertIn("another computer", status.err)
        self.assertIn("smartkeyctl store adopt", status.err)
        self.assertIn("another computer", self.ctl("root", "status").out)
        self.assertTrue(self.store()["of_another_machine"])
        self.ctl(ALICE, "token", SERVER)  # here the hardware came along
        self.ctl("root", "store", "adopt")
        self.restart()
        self.assertFalse(self.store()["of_another_machine"])
        with open("/etc/machine-id", "rb") as file:
            self.assertNotIn(file.read().strip(), self.state_bytes())

    def test_CopyIsForTheServiceOnly(self):
        self.start_with_a_registration_and_its_copy()
        for path in glob.glob(os.path.join(self.copies, "*")):
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600, path)
            self.assertEqual(os.stat(path).st_uid, pwd.getpwnam(SERVICE).pw_uid)


if __name__ == "__main__":
    unittest.main()
