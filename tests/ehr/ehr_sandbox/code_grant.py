# SPDX-License-Identifier: Apache-2.0
"""The authorization code grant (RFC 6749 section 4.1) with PKCE (RFC 7636) and SMART's `aud`."""

import re

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from authlib.oauth2.rfc7636 import CodeChallenge

from .models import AuthorizationCode
from .server import launch_context, note

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
        """Takes the code out of circulation: one attempt, whatever comes of it.

        RFC 6749 section 4.1.2 also wants the tokens of a code ended that is used twice.
        """
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
