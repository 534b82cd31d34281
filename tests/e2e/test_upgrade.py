# SPDX-License-Identifier: Apache-2.0
"""What every release left on disk is read by this one, and its keys sign."""

import base64
import glob
import json
import os
import unittest

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from make_fixture import KINDS
from stack import ALICE, ROOT, Stack


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
                    self.assertEqual([(r["name"], r["state"]) for r in listed],
                                     [("es384", "ACTIVE"), ("rs256", "ACTIVE")])
                    self.assertEqual(listed[1]["label"], "a label")
                    for registration in listed:
                        result = stack.ctl(ALICE, "assertion", registration["name"])
                        self.assertEqual(result.code, 0, f"{result}\n{stack.read_log()}")
                        jwks = json.loads(stack.ctl(ALICE, "jwks", registration["name"]).out)
                        verify(result.out.strip(), jwks["keys"][0])


if __name__ == "__main__":
    unittest.main()
