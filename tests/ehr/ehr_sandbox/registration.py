# SPDX-License-Identifier: Apache-2.0
"""Step 2: the registration endpoint (RFC 7591) with an initial access token of step 1.

One registration at a time: whether the token is unspent and the key unknown is decided, and both
are used up, under the state's lock. So of two requests with one token exactly one wins.
"""

import uuid

from authlib.oauth2.rfc6749 import HttpRequest, InvalidRequestError
from authlib.oauth2.rfc6750.errors import InsufficientScopeError, InvalidTokenError
from authlib.oauth2.rfc7591 import ClientRegistrationEndpoint, InvalidClientMetadataError
from flask import Blueprint, jsonify, request

from . import faults, keys, scopes
from .models import JWT_BEARER, AccessToken, DynamicClient, InitialClient, token_hash
from .server import bearer_token, note, sandbox_state

_REALM = "sandbox"


class MissingToken(InvalidTokenError):
    """A request without any credentials is told the scheme only (RFC 6750 section 3.1)."""

    def get_headers(self):
        headers = [
            (name, value) for name, value in super().get_headers() if name != "WWW-Authenticate"
        ]
        return headers + [("WWW-Authenticate", f'Bearer realm="{_REALM}"')]


class NotForRegistration(InsufficientScopeError):
    """Authlib 1.2 sends no challenge with this error; RFC 6750 section 3 asks for one."""

    def get_headers(self):
        challenge = f'Bearer realm="{_REALM}", error="{self.error}", scope="{scopes.REGISTER}"'
        return super().get_headers() + [("WWW-Authenticate", challenge)]


class RegistrationEndpoint(ClientRegistrationEndpoint):
    def create_endpoint_request(self, request):
        return self.server.create_json_request(request)

    def authenticate_token(self, request):
        # Raising, not returning None: that would be answered with 400 access_denied.
        value = bearer_token(request.headers)
        if value is None:
            raise MissingToken()
        note(initial_token_hash=token_hash(value))
        token = self.server.sandbox.find_usable_token(value)
        if token is None or not isinstance(token.client, InitialClient):
            raise InvalidTokenError(realm=_REALM)
        if not token.can_register():
            raise NotForRegistration()
        return token

    def get_server_metadata(self):
        return {}  # with grant types listed here Authlib fails on a request that sends none

    def extract_client_metadata(self, request):
        _describe_request(request.data)
        state, app = self.server.sandbox, request.credential.client.app
        try:
            metadata = super().extract_client_metadata(request)
        except (AttributeError, KeyError, TypeError, ValueError):
            # Authlib checks values, not always types.
            raise InvalidClientMetadataError("a member has the wrong type")
        if metadata.get("software_id") != app.software_id:
            raise InvalidClientMetadataError(
                "software_id is not that of the client of the initial access token"
            )
        if metadata.get("grant_types", [JWT_BEARER]) != [JWT_BEARER]:
            raise InvalidClientMetadataError("grant_types can only be the JWT bearer grant")
        if request.data.get("token_endpoint_auth_method", "none") != "none":
            raise InvalidClientMetadataError("token_endpoint_auth_method can only be none")
        if "jwks" not in metadata or "jwks_uri" in metadata:
            raise InvalidClientMetadataError("the key must be in jwks")
        try:
            jwk = keys.only_key(metadata["jwks"])
            thumbprint = keys.check_public_key(jwk, state.algorithms())
        except keys.BadKey as error:
            raise InvalidClientMetadataError(str(error))
        note(thumbprint=thumbprint, kid=jwk["kid"])
        if thumbprint in state.known_thumbprints:
            raise InvalidClientMetadataError("this key has been registered before")
        request.jwk, request.thumbprint = jwk, thumbprint
        # What the 201 says about the client, beside what generate_client_info adds.
        return {
            "software_id": app.software_id,
            "token_endpoint_auth_method": "none",
            "grant_types": [JWT_BEARER],
        }

    def generate_client_info(self):
        return {
            "client_id": f"D-{uuid.uuid4()}",
            "client_id_issued_at": int(self.server.sandbox.now()),
        }

    def save_client(self, client_info, client_metadata, request):
        state, token = self.server.sandbox, request.credential
        period = token.authorization.access_period
        client = DynamicClient(
            client_id=client_info["client_id"],
            software_id=client_metadata["software_id"],
            jwk=request.jwk,
            thumbprint=request.thumbprint,
            authorization=token.authorization,
            issued_at=state.now(),
            ends_at=state.now() + period if period else None,
        )
        state.known_thumbprints.add(request.thumbprint)
        state.dynamic_clients[client.client_id] = client
        token.revoked = True  # for registration and for data alike
        note(client_id=client.client_id)
        return client


def _describe_request(data) -> None:
    """What was sent, for the log: names of members, of the keys too, and no values of theirs."""
    note(members=sorted(data), software_id=data.get("software_id"))
    try:
        key_members = [sorted(key) for key in data["jwks"]["keys"]]
    except (KeyError, TypeError):
        key_members = None
    note(key_members=key_members)


def _json_request():
    """The request with its JSON body, or an OAuth error; Flask's own would be an HTML page."""
    if request.mimetype != "application/json":
        raise InvalidRequestError("the request body must be application/json", status_code=415)
    try:
        data = keys.parse_json_object(request.get_data())
    except ValueError:
        raise InvalidClientMetadataError("the request body is not a JSON object")
    return HttpRequest(request.method, request.base_url, data, request.headers)


def _burn_token(state) -> None:
    value = bearer_token(request.headers)
    token: AccessToken = state.tokens.get(value or "")
    if token:
        token.revoked = True


def create_blueprint(server) -> Blueprint:
    blueprint = Blueprint("registration", __name__)
    server.register_endpoint(RegistrationEndpoint)

    @blueprint.post("/oauth/register")
    def register():
        state = sandbox_state()
        failure = faults.error_answer("registration_error")
        if failure is not None:
            return failure
        try:
            json_request = _json_request()
        except (InvalidRequestError, InvalidClientMetadataError) as error:
            return server.handle_error_response(None, error)
        with state.lock:
            response = server.create_endpoint_response("client_registration", json_request)
            if response.status_code != 201 and state.switches.value(
                "burn_initial_token_on_refusal"
            ):
                _burn_token(state)
        return faults.registration_answer(response)

    @blueprint.route("/oauth/register", methods=["GET", "PUT", "DELETE"])
    def not_a_registration():
        return jsonify(error="invalid_request"), 405, {"Allow": "POST"}

    return blueprint
