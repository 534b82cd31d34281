# SPDX-License-Identifier: Apache-2.0
"""Authlib's authorization server on this sandbox's state, and what its grants share."""

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749.errors import InvalidScopeError
from flask import current_app, request

from . import scopes
from .models import AccessToken, Authorization
from .state import State


class SandboxAuthorizationServer(AuthorizationServer):
    def __init__(self, state: State):
        super().__init__(query_client=state.find_client, save_token=self._keep_token)
        self.sandbox = state

    def validate_requested_scope(self, scope, state=None):
        unknown = [value for value in scopes.split(scope) if not scopes.is_known(value)]
        if unknown:
            raise InvalidScopeError("unknown scope", state=state)

    def generate_token(
        self, grant_type, client, user=None, scope=None, expires_in=None, include_refresh_token=True
    ):
        return {
            "access_token": self.sandbox.new_secret(
                self.sandbox.switches.value("access_token_length", 43)
            ),
            "token_type": "Bearer",
            "expires_in": expires_in,
            "scope": scope,
        }

    def _keep_token(self, token, oauth_request):
        now = self.sandbox.now()
        self.sandbox.add_token(
            AccessToken(
                value=token["access_token"],
                client=oauth_request.client,
                authorization=oauth_request.user,
                scope=scopes.split(token["scope"]),
                expires_at=now + token["expires_in"],
            )
        )


def sandbox_state() -> State:
    return current_app.config["SANDBOX_STATE"]


def note(**details) -> None:
    """Adds members to this request's line in the log."""
    request.environ.setdefault("sandbox.details", {}).update(details)


def launch_context(state: State, authorization: Authorization, granted) -> dict:
    """The members that a token answer has beside those of RFC 6749."""
    context = {"patient": authorization.patient}
    if "fhirUser" in granted:
        context["fhirUser"] = f"{state.urls.fhir_base}/{authorization.user.fhir_user}"
    return context


def find_duplicate(parameters) -> str:
    """A parameter given more than once, against RFC 6749 section 3.1; or an empty string."""
    return next((name for name, values in parameters.lists() if len(values) > 1), "")


def bearer_token(headers):
    """The token of an Authorization header, or None when there is no such header."""
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if not scheme:
        return None
    return value.strip() if scheme.lower() == "bearer" else ""
