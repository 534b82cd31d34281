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


def pkcs11_uri():
    for number, text in enumerate((
            "pkcs11:token=clinic;serial=0b1c", "pkcs11:token=a%20b%3Bc;manufacturer=m;model=n", "pkcs11:",
            "pkcs11:token=x?pin-source=file:/run/pin", "pkcs11:token=x?pin-source=file://localhost/run/p%69n",
            "pkcs11:token=x?pin-source=/run/pin", "pkcs11:token=x?pin-value=1234", "pkcs11:slot-id=1",
            "pkcs11:object=o;type=private;id=%01", "pkcs11:library-version=3", "pkcs11:x-vendor=1")):
        yield f"{number}", text.encode()


def pkcs11_key_reference():
    def field(octets):
        return len(octets).to_bytes(2, "big") + octets

    for algorithm in range(5):
        parts = (b"0b1c2d3e", b"clinic", b"SoftHSM project", b"SoftHSM v2", bytes(range(32)), b"smartkeyd:i:r:1")
        yield f"algorithm-{algorithm}", bytes([1, algorithm]) + b"".join(map(field, parts))
    yield "empty-names", bytes([1, 1]) + b"".join(map(field, (b"", b"", b"", b"", b"i", b"")))
    yield "newer", bytes([2, 1])


# SubjectPublicKeyInfo up to the key itself (RFC 5480 section 2.1.1, RFC 8017 appendix A.1).
P256_INFO = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
P384_INFO = bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200")
RSA_INFO = bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100")


def pkcs11_public_key():
    point, parameters, rsa, info = range(4)
    p256, p384, rsa_type = 0, 4, 8
    for _, key in golden_tpm_keys():
        name = key["algorithm"]
        if "n" in key:
            n, e = decode(key["n"]), decode(key["e"])
            yield f"{name}-numbers", bytes([rsa + rsa_type, len(e)]) + e + n
            yield f"{name}-zero-in-front", bytes([rsa + rsa_type, len(e) + 1, 0]) + e + b"\0" + n
            yield f"{name}-info", bytes([info + rsa_type]) + RSA_INFO + n + b"\x02\x03" + e
            continue
        raw = b"\x04" + decode(key["x"]) + decode(key["y"])
        of_type, head = (p256, P256_INFO) if name == "ES256" else (p384, P384_INFO)
        yield f"{name}-raw", bytes([point + of_type]) + raw
        yield f"{name}-wrapped", bytes([point + of_type, 4, len(raw)]) + raw
        yield f"{name}-info", bytes([info + of_type]) + head + raw
    yield "parameters-p256", bytes([parameters]) + bytes.fromhex("06082a8648ce3d030107")
    yield "parameters-p384", bytes([parameters]) + bytes.fromhex("06052b81040022")


def pkcs11_module():
    ok, flag_size = 0, 1
    protected = (1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0)  # in the order in which they are read
    # Each attribute is asked for twice: how long, and which.
    yield "protected-key", bytes([5]) + b"".join(bytes([ok, flag_size, ok, flag_size, one]) for one in protected)
    yield "octets", bytes([0, ok, 5, ok, 5]) + b"12345"
    yield "longer-than-announced", bytes([0, ok, 1, ok, 5]) + b"12345"
    yield "not-available", bytes([0, ok, 0xFF])
    yield "two-objects", bytes([3, ok, ok, 2]) + bytes(2) + bytes([ok, 0, ok])
    yield "signature", bytes([4, ok, ok, 64]) + bytes(64)
    yield "signature-in-need-of-room", bytes([4, ok, 3, 0xF2, ok, 0xF2]) + bytes(2000)
    for _, key in golden_tpm_keys():
        if key["algorithm"] == "ES256":
            point = b"\x04" + decode(key["x"]) + decode(key["y"])
            yield "ec-point", bytes([8, ok, len(point), ok, len(point)]) + point
    # flags: login required, initialized (PKCS#11 v2.40 section 3.2)
    info = b"clinic".ljust(32) + b"maker".ljust(32) + b"model".ljust(16) + b"0b1c".ljust(16) + bytes([4, 4]) + bytes(110)
    yield "more-slots-than-fit-into-memory", bytes([6, ok, 0xFF])
    yield "token", bytes([6, ok, 1, ok, 1]) + bytes(1) + bytes([ok]) + info


def discovery():
    endpoints = {"issuer": "https://ehr.example", "authorization_endpoint": "https://ehr.example/authorize",
                 "token_endpoint": "https://ehr.example:8443/token", "registration_endpoint": "../register",
                 "code_challenge_methods_supported": ["S256"],
                 "authorization_response_iss_parameter_supported": True,
                 "token_endpoint_auth_signing_alg_values_supported": ["ES384", "RS384"]}
    local = {name: value.replace("https://ehr.example", "http://127.0.0.1:8080") if isinstance(value, str) else value
             for name, value in endpoints.items()}
    uris = [{"url": name, "valueUri": f"https://ehr.example/{name}"} for name in ("authorize", "token", "register")]
    extension = {"url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris", "extension": uris}
    statement = {"rest": [{"mode": "client"}, {"mode": "server", "security": {"extension": [{"url": "x"}, extension]}}]}
    statement_choice, local_choices, issuer_choice, fhir_json = 8, 3, 4, 16
    yield "metadata", bytes([0]) + json.dumps(endpoints).encode()
    yield "of-the-issuer", bytes([issuer_choice]) + json.dumps(endpoints).encode()
    yield "on-loopback", bytes([local_choices]) + json.dumps(local).encode()
    yield "statement", bytes([statement_choice | fhir_json]) + json.dumps(statement).encode()
    for name, url in (("userinfo", "https://user@ehr.example/t"), ("fragment", "https://ehr.example/t#f"),
                      ("http", "http://ehr.example/t"), ("address", "https://0x7f000001/t"),
                      ("without-scheme", "//ehr.example/t"), ("dots", "../../../t?u=../v"), ("script", "javascript:1")):
        yield name, bytes([0]) + json.dumps({**endpoints, "token_endpoint": url}).encode()


def registration_answer():
    key = {"kty": "EC", "crv": "P-256", "x": "AQEB", "y": "AgIC"}
    good = {"client_id": "D-1", "software_id": " growth-chart-software", "token_endpoint_auth_method": "none",
            "grant_types": ["urn:ietf:params:oauth:grant-type:jwt-bearer"], "client_id_issued_at": 1767225600}
    created, refused, failed, as_json, as_html = 0, 2, 7, 0, 1
    for name, status, body in (
            ("accepted", created, good), ("minimal", created, {"client_id": "G66488CE9-7F14-11F1-95F1-005056BECC4A"}),
            ("private-key-jwt", created, {**good, "token_endpoint_auth_method": "private_key_jwt"}),
            ("another-key", created, {**good, "jwks": {"keys": [key]}}),
            ("secret", created, {**good, "client_secret": "s", "client_secret_expires_at": 0}),
            ("parents-id", created, {**good, "client_id": "growth-chart"}),
            ("control-character", created, {**good, "client_id": "a\n"}),
            ("time-out-of-range", created, {**good, "client_id_issued_at": 2**63 - 1}),
            ("refused", refused, {"error": "invalid_client_metadata", "error_description": "\x1b[31m"}),
            ("failed", failed, {"error": "server_error"})):
        yield name, bytes([status, as_json]) + json.dumps(body).encode()
    yield "page", bytes([created, as_html]) + b"<!doctype html><title>Sign in</title>"
    yield "cut", bytes([created, as_json]) + b'{"client_id":"D-'


def token_answer():
    good = {"access_token": "fake-token-1", "token_type": "bearer", "expires_in": 3600, "scope": "patient/*.rs",
            "patient": "pat-1", "fhirUser": "Practitioner/1", "need_patient_banner": True}
    ok, refused, busy, as_json, as_html, asked = 0, 1, 6, 0, 1, 1
    for name, choices, body in (
            ("accepted", (ok, as_json, 0), good), ("asked", (ok, as_json, asked), good),
            ("as-text", (ok, as_json, 0), {**good, "expires_in": "3600"}),
            ("no-life", (ok, as_json, 0), {"access_token": "t", "token_type": "Bearer"}),
            ("long-life", (ok, as_json, 0), {**good, "expires_in": 1e300}),
            ("negative", (ok, as_json, 0), {**good, "expires_in": -1}),
            ("dpop", (ok, as_json, 0), {**good, "token_type": "DPoP"}),
            ("newline", (ok, as_json, 0), {**good, "access_token": "a\r\nX: y"}),
            ("id-token", (ok, as_json, 0), {**good, "fhirUser": None, "id_token": "e30.eyJmaGlyVXNlciI6ICJ4In0.c2ln"}),
            ("refused", (refused, as_json, 0), {"error": "invalid_grant", "error_description": None}),
            ("error-with-200", (ok, as_json, 0), {**good, "error": "slow_down"}),
            ("busy", (busy, as_json, 0), {"error": "temporarily_unavailable"})):
        yield name, bytes(choices) + json.dumps(body).encode()
    yield "page", bytes((ok, as_html, 0)) + b"<!doctype html><title>Sign in</title>"
    yield "cut", bytes((ok, as_json, asked)) + b'{"access_token":"fake-to'


def retry_after():
    for name, value in (("seconds", "120"), ("zero", "0"), ("huge", "99999999999999999999"), ("negative", "-1"),
                        ("date", "Thu, 01 Jan 2026 00:10:00 GMT"), ("rfc850", "Thursday, 01-Jan-26 00:10:00 GMT"),
                        ("asctime", "Thu Jan  1 00:10:00 2026"), ("fraction", "1.5"), ("empty", "")):
        yield name, value.encode()


def challenge():
    for name, value in (("error", 'Bearer realm="fhir", error="invalid_token", error_description="expired"'),
                        ("two", 'Basic realm="x", Bearer error=insufficient_scope'), ("token68", "Negotiate YWJj/+==, DPoP"),
                        ("quotes", r'Bearer realm="a\"b,c\\", error = "invalid_token"'), ("open", 'Bearer error="x')):
        yield name, value.encode()


def redirect():
    def case(query, state=b"st4te", issuer=b"", required=0):
        return bytes([required, len(state)]) + state + bytes([len(issuer)]) + issuer + query

    issuer = b"https://ehr.example"
    yield "code", case(b"code=c0de&state=st4te")
    yield "whole-url", case(b"http://127.0.0.1:4711/callback?code=a%2Bb&state=st4te#top")
    yield "issuer", case(b"code=c&state=st4te&iss=https%3A%2F%2Fehr.example", issuer=issuer, required=1)
    yield "issuer-missing", case(b"code=c&state=st4te", issuer=issuer, required=1)
    yield "denied", case(b"error=access_denied&error_description=no%0A%1B&state=st4te")
    yield "state-twice", case(b"code=c&state=st4te&st%61te=st4te")
    yield "percent", case(b"code=%&state=st4te%")
    yield "state-encoded", case(b"c%6Fde=c&state=%73t4te+", state=b"st4te ")
    yield "no-state", case(b"code=c&state=", state=b"")


def connection():
    preface = bytes([1])

    def call(method, message):
        return bytes([2, method, len(message)]) + message

    named = b"\x0a\x10alices-own-name"  # in nearly every request field 1 is the registration
    methods = 48
    yield "every-method", preface + b"".join(call(i, named) for i in range(methods))
    yield "every-method-empty", preface + b"".join(call(i, b"") for i in range(methods))
    yield "every-method-garbage", preface + b"".join(call(i, b"\xff\xff\xff\xff\x7f") for i in range(methods))
    yield "every-method-left-open", preface + b"".join(bytes([3, i]) for i in range(methods))
    yield "http1", bytes([0, 35]) + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    yield "cut-preface", bytes([0, 10]) + b"PRI * HTTP"
    yield "silent", b""
    yield "length-that-is-not-so", preface + bytes([3, 0, 4, 255, 0, 3]) + b"abc"
    yield "compressed", preface + bytes([3, 0, 4, 0, 1, 3]) + b"\x1f\x8b\x08"
    yield "huge-metadata", preface + b"".join(bytes([5, 5]) + b"x-big" + bytes([255]) for _ in range(8))
    yield "many-pings", preface + b"".join(bytes([6, 6, 0, 0, 8]) + b"pingping" for _ in range(64))
    yield "reset-flood", preface + b"".join(bytes([3, 0, 6, 3, 0, 2 * i + 1, 4]) + b"\0\0\0\x08" for i in range(64))
    yield "window-overflow", preface + bytes([6, 8, 0, 0, 4]) + b"\x7f\xff\xff\xff"
    yield "settings-of-nothing", preface + bytes([6, 4, 0, 0, 6]) + b"\0\x05\0\0\0\0"
    yield "continuation-alone", preface + bytes([6, 9, 4, 1, 4]) + b"\0\0\0\0"
    yield "path-that-is-none", preface + bytes([7, 12]) + b"/../../etc/x" + bytes([7, 0])


CORPORA = {maker.__name__: maker for maker in (
    challenge, connection, discovery, ecdsa_signature, jwk, pkcs11_key_reference, pkcs11_module, pkcs11_public_key, pkcs11_uri, redirect,
    registration_answer, retry_after, token_answer, tpm_key_blob, url)}


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else TESTS / "fuzz" / "corpus"
    for name, maker in CORPORA.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for seed, content in maker():
            (root / name / seed).write_bytes(content)


if __name__ == "__main__":
    main()
