# SPDX-License-Identifier: Apache-2.0
"""The revocation endpoint (RFC 7009), for public clients: a token and the client_id it is of."""

from authlib.oauth2.rfc7009 import RevocationEndpoint
from flask import Blueprint, request

from .models import token_hash
from .server import note


class PublicRevocationEndpoint(RevocationEndpoint):
    CLIENT_AUTH_METHODS = ["none"]

    def query_token(self, token_string, token_type_hint):
        note(token_hash=token_hash(token_string))
        return self.server.sandbox.find_usable_token(token_string)

    def revoke_token(self, token, request):
        token.revoked = True


def create_blueprint(server) -> Blueprint:
    blueprint = Blueprint("revocation", __name__)
    server.register_endpoint(PublicRevocationEndpoint)

    @blueprint.post("/oauth/revoke")
    def revoke():
        note(client_id=request.form.get("client_id"))
        return server.create_endpoint_response(PublicRevocationEndpoint.ENDPOINT_NAME)

    return blueprint
