# SPDX-License-Identifier: Apache-2.0
"""The token endpoint (RFC 6749 section 3.2): what holds for every grant, before Authlib looks."""

from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError
from flask import Blueprint, request

from . import faults
from .code_grant import CodeGrant, RequiredS256
from .jwt_bearer import AssertionGrant, note_jti
from .models import JWT_BEARER
from .server import find_duplicate, note, sandbox_state

_GRANT_NAMES = {JWT_BEARER: "jwt-bearer", "authorization_code": "authorization_code"}


def _check_form():
    """Raises an OAuth error unless this is one plain form without any other credentials."""
    if "Authorization" in request.headers:
        # RFC 6749 section 5.2 wants 401 here; none of the clients of this server has a secret.
        raise InvalidClientError("this endpoint takes no Authorization header", status_code=401)
    if request.mimetype != "application/x-www-form-urlencoded":
        raise InvalidRequestError("the request body must be application/x-www-form-urlencoded")
    if request.args:
        raise InvalidRequestError("parameters belong in the body")
    duplicate = find_duplicate(request.form)
    if duplicate:
        raise InvalidRequestError("a parameter occurs twice")


def create_blueprint(server) -> Blueprint:
    blueprint = Blueprint("token", __name__)
    server.register_grant(CodeGrant, [RequiredS256(required=True)])
    server.register_grant(AssertionGrant)

    @blueprint.post("/oauth/token")
    def token():
        form = request.form
        grant = _GRANT_NAMES.get(form.get("grant_type"), "unknown")
        note(
            **{
                name: form[name]
                for name in ("grant_type", "client_id", "scope", "redirect_uri")
                if name in form
            }
        )
        note(parameters=sorted(form))
        if "code_verifier" in form:
            note(code_verifier_length=len(form["code_verifier"]))
        failure = faults.error_answer("token_error", grant=grant)
        if failure is not None:
            note_jti(form.get("assertion", ""))
            return failure
        try:
            _check_form()
        except (InvalidClientError, InvalidRequestError) as error:
            return server.handle_error_response(None, error)
        return faults.token_answer(server.create_token_response(), sandbox_state(), grant)

    return blueprint
