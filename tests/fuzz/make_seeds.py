#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the first inputs of the fuzzers' corpora, from the fixtures of released versions and by hand.

Usage: make_seeds.py [DIRECTORY]     default: corpus/ beside this file. Files are overwritten with the same
                                     content; others are left alone.
"""

import base64
import json
import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def golden_tpm_keys():
    """(release, entry) for every TPM key that a release has left."""
    for file in sorted(TESTS.glob("fixtures/*/tpm_keys.json")):
        for entry in json.loads(file.read_text(encoding="utf-8")):
            yield file.parent.name, entry


def tpm_key_blob():
    for release, key in golden_tpm_keys():
        yield f"{release}-{key['algorithm']}", decode(key["blob"])


def jwk():
    for _, key in golden_tpm_keys():
        members = {name: key[name] for name in ("x", "y", "n", "e") if name in key}
        kind = {"ES256": {"kty": "EC", "crv": "P-256"}, "ES384": {"kty": "EC", "crv": "P-384"}}
        text = json.dumps({**kind.get(key["algorithm"], {"kty": "RSA"}), **members})
        yield f"{key['algorithm']}", text.encode()
    yield "private-member", b'{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}'
    yield "zero-in-front", b'{"kty":"RSA","n":"AAEC","e":"AQAB"}'
    yield "nested", b'{"keys":[{"kty":"EC"},null,true,-1.5e3,"\\u00e9\\ud83d\\ude00"]}'


def ecdsa_signature():
    def case(choice, r, s, jose):
        return bytes([choice, len(r)]) + r + bytes([len(s)]) + s + jose

    full, high = bytes(range(1, 33)), b"\xff" * 32
    yield "p256", case(0, full, high, full + high)
    yield "p384", case(1, b"\x01" * 48, b"\x80" * 48, b"\x01" * 48 + b"\x80" * 48)
    yield "minimal-and-padded", case(0, b"\x01", b"\0" + high, b"\0" * 31 + b"\x01" + high)
    yield "zero", case(0, b"\0" * 32, full, b"\0" * 32 + full)
    yield "too-long", case(0, b"\x01" + full, full, full * 3)
    yield "field-of-one", case(7, b"\x7f", b"\x80", b"\x7f\x80")
    yield "no-field", case(3, b"", b"", b"")


def url():
    for number, text in enumerate((
            "https://ehr.example.com/fhir", "HTTPS://EHR.Example.com:8443/a/b?c=d", "http://127.0.0.1:80/?",
            "http://[::1]:8080/x", "https://user@host/", "https://h/#f", "https://0x7f000001/",
            "https://a_b-c.d:65536/")):
        yield f"{number}", text.encode()


CORPORA = {maker.__name__: maker for maker in (ecdsa_signature, jwk, tpm_key_blob, url)}


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else TESTS / "fuzz" / "corpus"
    for name, maker in CORPORA.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for seed, content in maker():
            (root / name / seed).write_bytes(content)


if __name__ == "__main__":
    main()
