# SPDX-License-Identifier: Apache-2.0
"""Step 3: the JWT bearer grant (RFC 7523), as strict as SMART's profile and Epic together."""

from authlib.jose import JsonWebKey, JsonWebToken
from authlib.jose.errors import JoseError
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749.errors import InvalidScopeError
from authlib.oauth2.rfc7523 import JWTBearerGrant

from . import keys, scopes
from .models import DynamicClient, token_hash
from .server import launch_context, note

MAX_LIFETIME = 300  # seconds, SMART App Launch 2.2 and Epic
MAX_JTI_LENGTH = 151  # Epic
_FOREIGN_KEY_HEADERS = ("jku", "jwk", "x5u", "x5c", "crit")


class AssertionGrant(JWTBearerGrant):
    def validate_token_request(self):
        super().validate_token_request()
        wanted = scopes.split(self.request.scope)
        granted = self._authorized_scope()
        if any(not scopes.covers(granted, value) for value in wanted):
            raise InvalidScopeError("the scope exceeds what the person has allowed")

    def process_assertion_claims(self, assertion):
        header, claims = _read_unverified(assertion)
        note(assertion_header=header, assertion_claims=claims, assertion_hash=token_hash(assertion))
        note(jti=claims.get("jti"))
        self._check_header(header)
        client = self.resolve_issuer_client(claims.get("iss"))
        self._verify_signature(assertion, client, header)
        self._check_claims(claims, client)
        if not self.server.sandbox.use_jti(client.client_id, claims["jti"], claims["exp"]):
            raise InvalidGrantError("jti has been used before")
        return claims

    def _check_header(self, header):
        if header.get("typ") != "JWT":
            raise InvalidGrantError("typ must be JWT")
        if header.get("alg") not in self.server.sandbox.algorithms():
            raise InvalidGrantError("alg is not supported")
        if not isinstance(header.get("kid"), str):
            raise InvalidGrantError("kid is missing")
        if any(name in header for name in _FOREIGN_KEY_HEADERS):
            raise InvalidGrantError("the header brings its own key, or is critical")

    def resolve_issuer_client(self, issuer):
        state = self.server.sandbox
        with state.lock:
            client = state.dynamic_clients.get(issuer) if isinstance(issuer, str) else None
        if client is None:
            raise InvalidClientError("iss is no client of this server")
        if not client.is_usable(state.now()):
            raise InvalidGrantError("the access of this client has ended")
        return client

    def _verify_signature(self, assertion, client: DynamicClient, header):
        if header["kid"] != client.jwk["kid"]:
            raise InvalidGrantError("kid is not in the registered key set")
        if client.jwk.get("alg", header["alg"]) != header["alg"]:
            raise InvalidGrantError("alg is not the one that the key was registered for")
        try:
            JsonWebToken([header["alg"]]).decode(assertion, JsonWebKey.import_key(client.jwk))
        except (JoseError, ValueError) as error:
            raise InvalidGrantError("the signature does not verify") from error

    def _check_claims(self, claims, client):
        state = self.server.sandbox
        if claims.get("sub") != client.client_id:
            raise InvalidGrantError("sub must be the client_id, like iss")
        if self.request.form.get("client_id") != client.client_id:
            raise InvalidGrantError("client_id in the request must be that of the assertion")
        # Neither another spelling of the URL, nor an array that contains it.
        wanted = state.switches.value("token_audience", state.urls.token_endpoint)
        if claims.get("aud") != wanted:
            raise InvalidGrantError(f"aud must be exactly {wanted}")
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= MAX_JTI_LENGTH:
            raise InvalidGrantError("jti must be a string of 1 to 151 characters")
        _check_times(claims, state.now())

    def _authorized_scope(self):
        return [
            value for value in self.request.client.authorization.scope if value != scopes.REGISTER
        ]

    def authenticate_user(self, subject):
        return self.request.client.authorization

    def has_granted_permission(self, client, user):
        return True  # the client was bound to this authorization when it was registered

    def create_token_response(self):
        state, client = self.server.sandbox, self.request.client
        granted = scopes.split(self.request.scope) or self._authorized_scope()
        token = self.generate_token(
            user=client.authorization,
            scope=" ".join(granted),
            expires_in=state.switches.value("access_token_ttl", state.config.access_token_ttl),
            include_refresh_token=False,
        )
        self.save_token(token)
        with state.lock:
            client.tokens_issued += 1
        token.update(launch_context(state, client.authorization, granted))
        return 200, token, self.TOKEN_RESPONSE_HEADER


def _read_unverified(assertion: str):
    """Header and claims of a compact JWS, before anything in them can be believed."""
    parts = assertion.split(".")
    if len(parts) != 3:
        raise InvalidRequestError("assertion is not a compact JWS")
    try:
        header, claims, _ = (keys.decode_base64url(part, "assertion") for part in parts)
        return keys.parse_json_object(header), keys.parse_json_object(claims)
    except ValueError:
        raise InvalidRequestError("assertion is not a compact JWS")


def note_jti(assertion: str):
    """What of an assertion is logged that is not looked at, as far as it can be read."""
    try:
        _, claims = _read_unverified(assertion)
    except InvalidRequestError:
        return
    note(jti=claims.get("jti"))


def _check_times(claims, now):
    """No leeway at all: a client must leave room for clocks that differ."""
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name)
        if value is None and name != "exp":
            continue
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidGrantError(f"{name} must be a whole number")
        if name == "exp" and value <= now:
            raise InvalidGrantError("exp has passed")
        if name == "exp" and value > now + MAX_LIFETIME:
            raise InvalidGrantError("exp is more than five minutes ahead")
        if name != "exp" and value > now:
            raise InvalidGrantError(f"{name} is in the future")
        if name != "exp" and claims["exp"] - value > MAX_LIFETIME:
            raise InvalidGrantError(f"exp is more than five minutes after {name}")
