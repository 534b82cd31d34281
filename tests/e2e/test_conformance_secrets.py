# SPDX-License-Identifier: Apache-2.0
"""Items 16, 18 and 21 of docs/conformance.md: what is secret stays where it belongs, or is gone."""

import base64
import os
import struct
import subprocess
import unittest

from conformance import ALICE, SERVER, ConformanceTest
from memory import places_in_memory
from stack import Failed, wait_for

CLIENT_SECRET = b"sandbox-client-secret-not-to-be-kept"


class Secrets(ConformanceTest):
    def traces(self, secret):
        """Every place outside memory where it must not be, and is."""
        pid = self.stack.processes["smartkeyd"].pid
        places = {"state directory": self.state_bytes(), "log": self.stack.read_log().encode()}
        for name in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{name}", "rb") as file:
                places[name] = file.read()
        return [name for name, data in places.items() if secret in data]

    def assert_gone(self, secret):
        self.assertEqual(self.traces(secret), [])
        if self.stack.sanitized():
            return  # what is freed is kept
        pid = self.stack.daemon_pid()
        # A connection that has just been closed is taken down by another thread.
        places = []

        def gone():
            places[:] = places_in_memory(pid, secret)
            return not places
        try:
            wait_for(gone, "the last buffers to be freed", patience=10)
        except Failed:
            self.fail(f"still in memory: {places}")

    def initial_tokens(self):
        return [t["access_token"].encode() for t in self.stack.control("tokens") if t["initial"]]

    def test_item_18_TheInitialTokenOfALoginIsNowhereAfterwards(self):
        self.enrolled()
        (initial,) = self.initial_tokens()
        self.assert_gone(initial)
        # The same search finds a token that is there: the cached one.
        token = self.token().encode()
        if not self.stack.sanitized():
            self.assertTrue(places_in_memory(self.stack.daemon_pid(), token))

    def test_item_18_ThatOfAnAppIsNowhereAfterwards(self):
        self.assert_enrolled_with_token()
        (initial,) = self.initial_tokens()
        self.assert_gone(initial)

    def test_item_18_NorIsOneThatWasRefusedOrNeverUsed(self):
        self.stack.switches(registration_error={"error": "invalid_client_metadata"})
        self.assert_error(self.enroll_with_token(), "SOFTWARE_ID_REFUSED")
        self.stack.switches(registration_error=None, grant_register_scope=False)
        self.assertEqual(self.stack.enroll().code, 4)
        tokens = self.initial_tokens()
        self.assertEqual(len(tokens), 2)
        for initial in tokens:
            self.assert_gone(initial)

    def test_item_18_NoCoreFileCanHoldIt(self):
        with open(f"/proc/{self.stack.processes['smartkeyd'].pid}/limits", encoding="ascii") as file:
            self.assertRegex(file.read(), r"Max core file size +0 +0 ")

    def test_item_21_AClientSecretIsNotKept(self):
        self.stack.switches(registration_answer="client_secret")
        self.assert_enrolled_with_token()
        self.token()
        self.assert_gone(CLIENT_SECRET)
        shown = self.stack.ctl(ALICE, "--json", "show", SERVER)
        self.assertNotIn(CLIENT_SECRET.decode(), shown.out)
        # Nor is it used: the token request has no client authentication.
        for request in self.stack.token_requests():
            self.assertFalse(request["has_authorization"])
            self.assertEqual(request["parameters"], ["assertion", "client_id", "grant_type"])

class TpmsOwn(ConformanceTest):
    """What the TPM's own tools say of a key, and what they cannot do with it."""

    def tool(self, *args, check=True):
        result = subprocess.run(args, cwd=self.directory, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                env={"PATH": "/usr/bin:/bin", "TPM2TOOLS_TCTI": self.stack.hardware.tcti})
        if check and result.returncode != 0:
            raise Failed(f"{' '.join(args)}: {result.stdout}")
        if args[0] != "tpm2_flushcontext":
            self.tool("tpm2_flushcontext", "-t")  # there is no resource manager to do it
        return result

    def setUp(self):
        super().setUp()
        self.directory = os.path.join(self.stack.dir, "tools")
        os.makedirs(self.directory, exist_ok=True)

    def write(self, name, data):
        with open(os.path.join(self.directory, name), "wb") as file:
            file.write(data)

    def take_key(self):
        """The public and the wrapped private part out of the database, for tpm2_load. The format is that of
        hsm/tpm/tpm_key_blob.h."""
        (blob,) = self.stored_keys()
        position, parts = 4, []
        while position < len(blob):
            (size,) = struct.unpack_from(">H", blob, position)
            parts.append(blob[position + 2:position + 2 + size])
            position += 2 + size
        self.write("key.pub", parts[3])
        self.write("key.priv", parts[4])

    def create_parent(self):
        # TPMU_PUBLIC_ID as it lies in memory: two buffers of 128 octets with 32 in use.
        self.write("unique", 2 * (b"\x20\x00" + bytes(128)))
        self.tool("tpm2_createprimary", "-C", "o", "-g", "sha256", "-G", "ecc256:aes128cfb", "-u", "unique", "-a",
                  "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt", "-c", "parent.ctx")

    def test_item_16_TheKeyIsTheTpmsOwnAndCannotBeTakenOut(self):
        registration = self.enrolled()
        self.take_key()
        self.stack.stop("smartkeyd")  # swtpm speaks to one at a time
        self.stack.hardware.reboot()
        self.create_parent()
        self.tool("tpm2_load", "-C", "parent.ctx", "-u", "key.pub", "-r", "key.priv", "-c", "key.ctx")
        seen = self.tool("tpm2_readpublic", "-c", "key.ctx").stdout
        attributes = set(next(line for line in seen.splitlines() if "fixedtpm" in line).split(":")[1].strip().split("|"))
        self.assertLessEqual({"fixedtpm", "fixedparent", "sensitivedataorigin", "sign"}, attributes)
        self.assertFalse({"decrypt", "restricted", "encryptedduplication"} & attributes)
        x = registration["generation"]["key"]["public_jwk"]["x"]

        self.assertIn(base64.urlsafe_b64decode(x + "=" * (-len(x) % 4)).hex(), seen)
        for parent in (("-C", "null"), ("-C", "parent.ctx")):
            export = self.tool("tpm2_duplicate", *parent, "-c", "key.ctx", "-G", "null", "-p", "", "-r", "out.priv",
                               "-s", "out.seed", check=False)
            self.assertNotEqual(export.returncode, 0)
            self.assertFalse(os.path.exists(os.path.join(self.directory, "out.priv")))
        self.stack.start_daemon()
        self.token()  # while smartkeyd goes on with it

    def test_item_16_WhatIsStoredIsOfNoUseToAnotherTpm(self):
        self.enrolled()
        self.take_key()
        self.stack.stop("smartkeyd")
        self.stack.hardware.replace()
        self.addCleanup(self.stack.start_daemon)
        self.create_parent()
        load = self.tool("tpm2_load", "-C", "parent.ctx", "-u", "key.pub", "-r", "key.priv", "-c", "key.ctx",
                         check=False)
        self.assertNotEqual(load.returncode, 0)
        self.assertIn("integrity", load.stdout)

if __name__ == "__main__":
    unittest.main()
