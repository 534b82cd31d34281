# SPDX-License-Identifier: Apache-2.0
"""Step 1: the authorization endpoint, and the pages between the request and the redirect.

A person's pages are tied together by a ticket, a hidden form field: login, then whose record, then
consent, each answered by a POST to the endpoint itself.
"""

import hmac
import threading
from dataclasses import dataclass
from typing import Optional

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error, OAuth2Request
from flask import Blueprint, redirect, request

from . import fhir, pages, scopes
from .config import User
from .models import Authorization
from .server import find_duplicate, note, sandbox_state

_PATH = "/oauth/authorize"
_GONE = "This page is no longer valid. Start again from the app."


@dataclass
class _Pending:
    """An authorization request between its arrival and the person's decision."""

    uri: str
    app: str  # by name
    user: Optional[User] = None
    patient: Optional[str] = None


class _PendingRequests:
    """By ticket. Thread-safe."""

    def __init__(self):
        self._lock = threading.Lock()
        self._pending = {}

    def open(self, ticket: str, pending: _Pending) -> None:
        with self._lock:
            self._pending[ticket] = pending

    def find(self, ticket: str) -> Optional[_Pending]:
        with self._lock:
            return self._pending.get(ticket)

    def close(self, ticket: str) -> Optional[_Pending]:
        with self._lock:
            return self._pending.pop(ticket, None)


def _oauth_request(uri: str) -> OAuth2Request:
    return OAuth2Request("GET", uri, None, {})


def _log_parameters() -> None:
    names = (
        "client_id",
        "redirect_uri",
        "scope",
        "state",
        "aud",
        "code_challenge",
        "code_challenge_method",
    )
    note(
        **{name: request.args[name] for name in ("response_type",) + names if name in request.args}
    )


def _explain(error: OAuth2Error, oauth_request: OAuth2Request):
    """To the redirect URI when it is known to be the client's own, otherwise to the person only."""
    note(error=error.error, reason=error.get_error_description())
    client = sandbox_state().find_client(oauth_request.client_id or "")
    uri = oauth_request.redirect_uri
    if client is None or not uri or not client.check_redirect_uri(uri):
        return pages.failure(
            "The app is not known here, or it asked to send you to an address that is not its own."
        )
    answer = [("error", error.error), ("error_description", error.get_error_description())]
    if oauth_request.state:
        answer.append(("state", oauth_request.state))
    return redirect(add_params_to_uri(uri, answer))


def _add_issuer(response):
    """RFC 9207, when switched on: `true` for the right issuer, `"wrong"` for an attacker's."""
    iss = sandbox_state().switches.value("authorization_iss")
    if iss and "Location" in response.headers:
        value = "https://attacker.example" if iss == "wrong" else sandbox_state().urls.issuer
        response.headers["Location"] = add_params_to_uri(
            response.headers["Location"], [("iss", value)]
        )
    return response


class _Endpoint:
    def __init__(self, server):
        self._server = server
        self._pending_requests = _PendingRequests()

    def authorize(self):
        """GET: checks the request, and shows the first page."""
        _log_parameters()
        if find_duplicate(request.args):
            return pages.failure("The app's request names something twice.")
        uri = f"{request.base_url}?{request.query_string.decode('ascii', 'replace')}"
        try:
            oauth_request = _oauth_request(uri)
        except ValueError:
            return pages.failure("The app's request cannot be read.")
        try:
            self._server.get_consent_grant(oauth_request)
        except OAuth2Error as error:
            return _explain(error, oauth_request)
        app = sandbox_state().find_client(oauth_request.client_id).app.name
        ticket = sandbox_state().new_secret()
        self._pending_requests.open(ticket, _Pending(uri, app))
        return pages.login(action=_PATH, ticket=ticket, app=app)

    def next_page(self):
        """POST: the answer to whichever page is due."""
        ticket = request.form.get("ticket", "")
        pending = self._pending_requests.find(ticket)
        if pending is None:
            return pages.failure(_GONE)
        if pending.user is None:
            return self._log_in(ticket, pending)
        if pending.patient is None:
            return self._choose_patient(ticket, pending)
        return self._decide(ticket)

    def _log_in(self, ticket: str, pending: _Pending):
        user = sandbox_state().config.users.get(request.form.get("username", ""))
        password = request.form.get("password", "")
        if user is None or not hmac.compare_digest(user.password.encode(), password.encode()):
            note(error="login refused")
            error = "User name or password is not right."
            return pages.login(error, action=_PATH, ticket=ticket, app=pending.app)
        pending.user = user
        patients = [(patient, fhir.patient_name(patient)) for patient in user.patients]
        return pages.choose_patient(action=_PATH, ticket=ticket, user=user.name, patients=patients)

    def _choose_patient(self, ticket: str, pending: _Pending):
        patient = request.form.get("patient", "")
        if patient not in pending.user.patients:
            note(error="patient refused")
            return pages.failure("That record is not yours to share.", 403)
        pending.patient = patient
        asked = scopes.split(_oauth_request(pending.uri).scope)
        return pages.consent(
            pending.app,
            action=_PATH,
            ticket=ticket,
            patient=fhir.patient_name(patient),
            scopes=[(scope, scopes.describe(scope)) for scope in asked],
        )

    def _decide(self, ticket: str):
        pending = self._pending_requests.close(ticket)
        if pending is None:
            return pages.failure(_GONE)
        oauth_request = _oauth_request(pending.uri)
        allowed = None
        if request.form.get("decision") == "allow":
            period = request.form.get("access_period", "")
            allowed = Authorization(
                user=pending.user,
                patient=pending.patient,
                scope=_granted_scope(oauth_request),
                access_period=int(period) if period.isdecimal() else None,
            )
        note(decision="allow" if allowed else "deny")
        response = self._server.create_authorization_response(oauth_request, grant_user=allowed)
        return _add_issuer(response)


def _granted_scope(oauth_request: OAuth2Request):
    """What was asked for and ticked."""
    ticked = request.form.getlist("scope")
    granted = [scope for scope in scopes.split(oauth_request.scope) if scope in ticked]
    if not sandbox_state().switches.value("grant_register_scope", True):
        granted = [scope for scope in granted if scope != scopes.REGISTER]
    return granted


def create_blueprint(server) -> Blueprint:
    blueprint = Blueprint("authorization", __name__)
    endpoint = _Endpoint(server)
    blueprint.add_url_rule(_PATH, view_func=endpoint.authorize, endpoint="authorize")
    blueprint.add_url_rule(_PATH, view_func=endpoint.next_page, endpoint="next", methods=["POST"])
    return blueprint
