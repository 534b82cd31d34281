# SPDX-License-Identifier: Apache-2.0
"""Which public keys may be registered (RFC 7517, RFC 7518)."""

import base64
import binascii
import json

from authlib.jose import JsonWebKey

_PRIVATE_MEMBERS = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_CURVES = {"P-256": ("ES256", 32), "P-384": ("ES384", 48)}
_RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")


class BadKey(ValueError):
    """The message names the rule that the key breaks, never the key."""


def decode_base64url(value, what: str) -> bytes:
    """Base64url without padding (RFC 7515 section 2), and no other spelling of the same octets."""
    if not isinstance(value, str):
        raise BadKey(f"{what} is no string")
    try:
        octets = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        octets = None
    if octets is None or base64.urlsafe_b64encode(octets).rstrip(b"=").decode() != value:
        raise BadKey(f"{what} is not base64url without padding")
    return octets


def only_key(jwks) -> dict:
    """The one key of a JWKS."""
    if not isinstance(jwks, dict) or not isinstance(jwks.get("keys"), list):
        raise BadKey("jwks must be a JSON Web Key Set")
    if len(jwks["keys"]) != 1 or not isinstance(jwks["keys"][0], dict):
        raise BadKey("jwks must hold exactly one key")
    return jwks["keys"][0]


def check_public_key(jwk: dict, algorithms) -> str:
    """Checks one public signing key; returns its RFC 7638 thumbprint."""
    if any(member in jwk for member in _PRIVATE_MEMBERS):
        raise BadKey("jwks holds private key material")
    if not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
        raise BadKey("the key has no kid")
    if jwk.get("use", "sig") != "sig" or jwk.get("key_ops", ["verify"]) != ["verify"]:
        raise BadKey("the key is not for verifying signatures")
    possible = _possible_algorithms(jwk)
    if not set(possible) & set(algorithms):
        raise BadKey("no supported algorithm fits the key")
    if "alg" in jwk and (jwk["alg"] not in possible or jwk["alg"] not in algorithms):
        raise BadKey("alg does not fit the key or is not supported")
    try:
        key = JsonWebKey.import_key(jwk)
        key.get_public_key()  # a point that is not on the curve fails here
        return key.thumbprint()
    except Exception as error:  # Authlib lets errors of several libraries through
        raise BadKey("the key cannot be read") from error


def _possible_algorithms(jwk: dict):
    kind = jwk.get("kty")
    if kind == "EC" and jwk.get("crv") in _CURVES:
        algorithm, width = _CURVES[jwk["crv"]]
        # RFC 7518 section 6.2.1.2: leading zero octets are kept.
        if any(len(decode_base64url(jwk.get(axis), axis)) != width for axis in ("x", "y")):
            raise BadKey("x and y must have the full length of the curve")
        return (algorithm,)
    if kind == "RSA":
        modulus = decode_base64url(jwk.get("n"), "n")
        exponent = decode_base64url(jwk.get("e"), "e")
        # RFC 7518 section 6.3.1: the least number of octets.
        if modulus[:1] == b"\0" or exponent[:1] in (b"\0", b""):
            raise BadKey("n and e must not have leading zero octets")
        if len(modulus) < 256:
            raise BadKey("RSA keys must have at least 2048 bits")
        return _RSA_ALGORITHMS
    raise BadKey("kty must be EC (P-256, P-384) or RSA")


def generate_ec_key(curve: str):
    """A key pair whose JWK form is right: Authlib 1.2 drops leading zero octets of x, y and d."""
    while True:
        key = JsonWebKey.generate_key("EC", curve, is_private=True)
        numbers = key.as_dict(is_private=True)
        if all(
            len(decode_base64url(numbers[name], name)) == _CURVES[curve][1]
            for name in ("x", "y", "d")
        ):
            return key


def parse_json_object(text) -> dict:
    """A JSON object in which no name occurs twice (two readers might take different ones)."""

    def unique(pairs):
        members = dict(pairs)
        if len(members) != len(pairs):
            raise ValueError("a name occurs twice")
        return members

    value = json.loads(text, object_pairs_hook=unique)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
