# SPDX-License-Identifier: Apache-2.0
"""Step 1: the authorization endpoint (RFC 6749 section 4.1, PKCE of RFC 7636, SMART's `aud`)."""

import hmac
import re
import threading
from dataclasses import dataclass
from typing import Optional

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error, OAuth2Request
from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge
from flask import Blueprint, redirect, request

from . import fhir, pages, scopes
from .config import User
from .models import Authorization, AuthorizationCode
from .server import find_duplicate, launch_context, note, sandbox_state

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


class RequiredS256(CodeChallenge):
    """PKCE with S256 and nothing else; Authlib alone lets a request without a challenge through."""

    SUPPORTED_CODE_CHALLENGE_METHOD = ["S256"]

    def validate_code_challenge(self, grant):
        data = grant.request.data
        if not _CHALLENGE.fullmatch(data.get("code_challenge", "")):
            raise InvalidRequestError("code_challenge is missing or is no SHA-256")
        if data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("code_challenge_method must be S256")


class CodeGrant(AuthorizationCodeGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["none"]

    def validate_requested_scope(self):
        super().validate_requested_scope()
        data, state = self.request.data, self.server.sandbox
        if not data.get("state"):
            raise InvalidRequestError("state is required")
        if not data.get("scope"):
            raise InvalidRequestError("scope is required")
        if data.get("aud") != state.urls.fhir_base:
            raise InvalidRequestError("aud must be the FHIR base URL of this server")

    def generate_authorization_code(self):
        return self.server.sandbox.new_secret(64)

    def save_authorization_code(self, code, request):
        state = self.server.sandbox
        with state.lock:
            state.codes[code] = AuthorizationCode(
                client_id=request.client.client_id,
                redirect_uri=request.redirect_uri,
                code_challenge=request.data["code_challenge"],
                code_challenge_method="S256",
                authorization=request.user,
                expires_at=state.now() + state.config.authorization_code_ttl,
            )

    def query_authorization_code(self, code, client):
        """Takes the code out of circulation: one attempt, whatever comes of it (RFC 6749 section 4.1.2)."""
        state = self.server.sandbox
        with state.lock:
            item = state.codes.get(code)
            if item is None or item.client_id != client.client_id:
                return None
            if item.used:
                note(reason="authorization code used twice")
                if item.token:
                    item.token.revoked = True
                return None
            item.used = True
            return item if state.now() < item.expires_at else None

    def delete_authorization_code(self, authorization_code):
        pass  # kept, so that a second use is recognised

    def authenticate_user(self, authorization_code):
        return authorization_code.authorization

    def create_token_response(self):
        state, code = self.server.sandbox, self.request.credential
        self.request.user = code.authorization
        token = self.generate_token(
            user=code.authorization,
            scope=code.get_scope(),
            expires_in=state.config.initial_token_ttl,
            include_refresh_token=False,
        )
        self.save_token(token)
        code.token = state.tokens[token["access_token"]]
        token.update(launch_context(state, code.authorization, code.authorization.scope))
        return 200, token, self.TOKEN_RESPONSE_HEADER


@dataclass
class _Pending:
    """An authorization request between its arrival and the person's decision."""

    uri: str
    user: Optional[User] = None
    patient: Optional[str] = None


class _PendingRequests:
    """Tickets: the hidden form field that ties a person's pages together."""

    def __init__(self):
        self._lock = threading.Lock()
        self._pending = {}

    def open(self, ticket: str, uri: str) -> None:
        with self._lock:
            self._pending[ticket] = _Pending(uri)

    def find(self, ticket: str) -> Optional[_Pending]:
        with self._lock:
            return self._pending.get(ticket)

    def close(self, ticket: str) -> Optional[_Pending]:
        with self._lock:
            return self._pending.pop(ticket, None)


def _oauth_request(uri: str) -> OAuth2Request:
    return OAuth2Request("GET", uri, None, {})


def _log_parameters() -> None:
    names = ("client_id", "redirect_uri", "scope", "state", "aud", "code_challenge", "code_challenge_method")
    note(**{name: request.args[name] for name in ("response_type",) + names if name in request.args})


def _explain(error: OAuth2Error, oauth_request: OAuth2Request):
    """To the redirect URI when it is known to be the client's own, otherwise to the person only."""
    note(error=error.error, reason=error.get_error_description())
    client = sandbox_state().find_client(oauth_request.client_id or "")
    uri = oauth_request.redirect_uri
    if client is None or not uri or not client.check_redirect_uri(uri):
        return pages.failure("The app is not known here, or it asked to send you to an address that is not its own.")
    answer = [("error", error.error), ("error_description", error.get_error_description())]
    if oauth_request.state:
        answer.append(("state", oauth_request.state))
    return redirect(add_params_to_uri(uri, answer))


def _add_issuer(response):
    """RFC 9207, when switched on: `true` for the right issuer, `"wrong"` for that of an attacker."""
    iss = sandbox_state().switches.value("authorization_iss")
    if iss and "Location" in response.headers:
        value = "https://attacker.example" if iss == "wrong" else sandbox_state().urls.issuer
        response.headers["Location"] = add_params_to_uri(response.headers["Location"], [("iss", value)])
    return response


def create_blueprint(server) -> Blueprint:
    blueprint = Blueprint("authorization", __name__)
    pending_requests = _PendingRequests()
    action = "/oauth/authorize"

    def app_name(pending: _Pending) -> str:
        return sandbox_state().find_client(_oauth_request(pending.uri).client_id).app.name

    @blueprint.get(action)
    def authorize():
        _log_parameters()
        duplicate = find_duplicate(request.args)
        if duplicate:
            return pages.failure("The app's request names something twice.")
        uri = f"{request.base_url}?{request.query_string.decode('ascii', 'replace')}"
        try:
            oauth_request = _oauth_request(uri)
        except ValueError:
            return pages.failure("The app's request cannot be read.")
        try:
            server.get_consent_grant(oauth_request)
        except OAuth2Error as error:
            return _explain(error, oauth_request)
        ticket = sandbox_state().new_secret()
        pending_requests.open(ticket, uri)
        return pages.login(action, ticket, app_name(pending_requests.find(ticket)))

    @blueprint.post(action)
    def continue_authorization():
        ticket = request.form.get("ticket", "")
        pending = pending_requests.find(ticket)
        if pending is None:
            return pages.failure("This page is no longer valid. Start again from the app.")
        if pending.user is None:
            return log_in(ticket, pending)
        if pending.patient is None:
            return choose_patient(ticket, pending)
        return decide(ticket)

    def log_in(ticket, pending):
        user = sandbox_state().config.users.get(request.form.get("username", ""))
        password = request.form.get("password", "")
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            note(error="login refused")
            return pages.login(action, ticket, app_name(pending), error="User name or password is not right.")
        pending.user = user
        patients = [(patient, fhir.patient_name(patient)) for patient in user.patients]
        return pages.choose_patient(action, ticket, user.name, patients)

    def choose_patient(ticket, pending):
        patient = request.form.get("patient", "")
        if patient not in pending.user.patients:
            note(error="patient refused")
            return pages.failure("That record is not yours to share.", 403)
        pending.patient = patient
        asked = scopes.split(_oauth_request(pending.uri).scope)
        described = [(scope, scopes.describe(scope)) for scope in asked]
        return pages.consent(action, ticket, app_name(pending), fhir.patient_name(patient), described)

    def decide(ticket):
        pending = pending_requests.close(ticket)
        if pending is None:
            return pages.failure("This page is no longer valid. Start again from the app.")
        oauth_request = _oauth_request(pending.uri)
        allowed = None
        if request.form.get("decision") == "allow":
            allowed = Authorization(
                user=pending.user,
                patient=pending.patient,
                scope=granted_scope(oauth_request),
                access_period=int(request.form.get("access_period") or 0) or None,
            )
        note(decision="allow" if allowed else "deny")
        return _add_issuer(server.create_authorization_response(oauth_request, grant_user=allowed))

    def granted_scope(oauth_request):
        ticked = request.form.getlist("scope")
        granted = [scope for scope in scopes.split(oauth_request.scope) if scope in ticked]
        if not sandbox_state().switches.value("grant_register_scope", True):
            granted = [scope for scope in granted if scope != scopes.REGISTER]
        return granted

    return blueprint
