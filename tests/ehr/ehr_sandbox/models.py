# SPDX-License-Identifier: Apache-2.0
"""What the server remembers: clients, codes and tokens, in the form Authlib asks for."""

import hashlib
from dataclasses import dataclass
from typing import List, Optional
from urllib.parse import urlsplit

from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, TokenMixin

from . import scopes
from .config import App, User

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def token_hash(token: str) -> str:
    """How logs name a token or an assertion without holding it."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()[:16]


@dataclass
class Authorization:
    """What a person allowed on the consent page."""

    user: User
    patient: str
    scope: List[str]
    access_period: Optional[int]  # seconds a dynamic client may live, None = until revoked


class _PublicClient(ClientMixin):
    """What both kinds of client share: neither has a secret."""

    grant_type = ""

    def get_client_id(self):
        return self.client_id

    def get_default_redirect_uri(self):
        return None  # redirect_uri is a required parameter here

    def get_allowed_scope(self, scope):
        return scope

    def check_client_secret(self, client_secret):
        return False

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "none"

    def check_response_type(self, response_type):
        return False

    def check_grant_type(self, grant_type):
        return grant_type == self.grant_type

    def check_redirect_uri(self, redirect_uri):
        return False


class InitialClient(_PublicClient):
    """The client_id of step 0, the same on every device."""

    grant_type = "authorization_code"

    def __init__(self, app: App):
        self.app = app
        self.client_id = app.client_id

    def check_response_type(self, response_type):
        return response_type == "code"

    def check_redirect_uri(self, redirect_uri):
        return any(redirect_uri_matches(known, redirect_uri) for known in self.app.redirect_uris)


def redirect_uri_matches(registered: str, given: str) -> bool:
    """Exact, except that a loopback IP literal may come with any port (RFC 8252 section 7.3)."""
    if registered == given:
        return True
    try:
        known, other = urlsplit(registered), urlsplit(given)
        other.port  # raises on a port that is no number
    except ValueError:
        return False
    if known.scheme != "http" or known.hostname not in ("127.0.0.1", "::1"):
        return False
    same = ("scheme", "hostname", "path", "query", "fragment", "username", "password")
    return all(getattr(known, part) == getattr(other, part) for part in same) and "#" not in given


@dataclass
class DynamicClient(_PublicClient):
    """The result of step 2: one app on one device, bound to one person, one patient and one key."""

    client_id: str
    software_id: str
    jwk: dict
    thumbprint: str
    authorization: Authorization
    issued_at: float
    ends_at: Optional[float] = None
    revoked: bool = False
    tokens_issued: int = 0

    grant_type = JWT_BEARER

    def is_usable(self, now: float) -> bool:
        return not self.revoked and (self.ends_at is None or now < self.ends_at)


@dataclass
class AuthorizationCode(AuthorizationCodeMixin):
    client_id: str
    redirect_uri: str
    code_challenge: str
    code_challenge_method: str
    authorization: Authorization
    expires_at: float
    used: bool = False
    token: Optional["AccessToken"] = None

    def get_redirect_uri(self):
        return self.redirect_uri

    def get_scope(self):
        return " ".join(self.authorization.scope)


@dataclass
class AccessToken(TokenMixin):
    value: str
    client: object  # InitialClient or DynamicClient
    authorization: Authorization
    scope: List[str]
    expires_at: float
    revoked: bool = False

    def check_client(self, client):
        return client.get_client_id() == self.client.get_client_id()

    def get_scope(self):
        return " ".join(self.scope)

    def is_usable(self, now: float) -> bool:
        if self.revoked or now >= self.expires_at:
            return False
        return not isinstance(self.client, DynamicClient) or self.client.is_usable(now)

    def can_register(self) -> bool:
        # Epic's papers spell it `system/dynamicClient.register`.
        return any(value.lower() == scopes.REGISTER.lower() for value in self.scope)
