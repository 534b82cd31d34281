# SPDX-License-Identifier: Apache-2.0
"""The test's side of the sandbox: JSON under /_control, for loopback only, and not in the log."""

from flask import Blueprint, abort, jsonify, request

from . import scopes
from .models import AccessToken, Authorization, InitialClient
from .server import sandbox_state
from .switches import UnknownSwitch

_LOOPBACK = ("127.0.0.1", "::1")
_INITIAL_SCOPE = ["openid", "fhirUser", "launch/patient", "patient/*.rs", scopes.REGISTER]


def _body() -> dict:
    body = request.get_json(force=True, silent=True) if request.get_data() else {}
    if not isinstance(body, dict):
        abort(400, "the body must be a JSON object")
    return body


def _describe_client(client) -> dict:
    return {
        "client_id": client.client_id,
        "software_id": client.software_id,
        "user": client.authorization.user.name,
        "patient": client.authorization.patient,
        "scope": " ".join(client.authorization.scope),
        "thumbprint": client.thumbprint,
        "kid": client.jwk["kid"],
        "jwk": client.jwk,
        "issued_at": client.issued_at,
        "ends_at": client.ends_at,
        "revoked": client.revoked,
        "tokens_issued": client.tokens_issued,
    }


def _named_client(body: dict):
    client = sandbox_state().dynamic_clients.get(body.get("client_id"))
    if client is None:
        abort(404, "no such dynamic client")
    return client


def create_blueprint() -> Blueprint:
    blueprint = Blueprint("control", __name__, url_prefix="/_control")

    @blueprint.before_request
    def only_loopback():
        if request.remote_addr not in _LOOPBACK:
            abort(403)

    @blueprint.app_errorhandler(400)
    @blueprint.app_errorhandler(403)
    @blueprint.app_errorhandler(404)
    @blueprint.app_errorhandler(405)
    def plain_error(error):
        return jsonify(error=error.description), error.code

    @blueprint.post("/reset")
    def reset():
        sandbox_state().reset()
        return jsonify({})

    @blueprint.get("/switches")
    def read_switches():
        return jsonify(sandbox_state().switches.as_dict())

    @blueprint.post("/switches")
    def set_switches():
        try:
            sandbox_state().switches.update(_body())
        except UnknownSwitch as error:
            abort(400, str(error))
        return read_switches()

    @blueprint.delete("/switches")
    def clear_switches():
        sandbox_state().switches.clear()
        return jsonify({})

    @blueprint.get("/clients")
    def list_clients():
        state = sandbox_state()
        with state.lock:
            return jsonify([_describe_client(client) for client in state.dynamic_clients.values()])

    @blueprint.post("/revoke")
    def revoke_client():
        """The person ends the app's access in the portal: the client, and with it its tokens."""
        client = _named_client(_body())
        client.revoked = True
        return jsonify(_describe_client(client))

    @blueprint.post("/restore")
    def restore_client():
        """Undoes `revoke` and `end_access_period`."""
        client = _named_client(_body())
        client.revoked, client.ends_at = False, None
        return jsonify(_describe_client(client))

    @blueprint.post("/end_access_period")
    def end_access_period():
        client = _named_client(_body())
        client.ends_at = sandbox_state().now()
        return jsonify(_describe_client(client))

    @blueprint.post("/forget_client")
    def forget_client():
        """Deletes the client, as if it had never been registered."""
        client = _named_client(_body())
        sandbox_state().dynamic_clients.pop(client.client_id)
        return jsonify({})

    @blueprint.post("/revoke_tokens")
    def revoke_tokens():
        """Ends the tokens issued so far, of one client or of all; the clients stay good."""
        state, client_id = sandbox_state(), _body().get("client_id")
        with state.lock:
            ended = [
                t
                for t in state.tokens.values()
                if client_id in (None, t.client.get_client_id()) and not t.revoked
            ]
            for token in ended:
                token.revoked = True
        return jsonify(revoked=len(ended))

    @blueprint.get("/tokens")
    def list_tokens():
        """Every token issued since the reset, in the clear: for tests that look for where they are not."""
        state = sandbox_state()
        with state.lock:
            return jsonify(
                [
                    {
                        "access_token": token.value,
                        "client_id": token.client.get_client_id(),
                        "initial": isinstance(token.client, InitialClient),
                    }
                    for token in state.tokens.values()
                ]
            )

    @blueprint.get("/log")
    def read_log():
        since = request.args.get("since", 0, type=int)
        return jsonify(sandbox_state().log.entries(since, request.args.get("path")))

    @blueprint.delete("/log")
    def clear_log():
        sandbox_state().log.clear()
        return jsonify({})

    @blueprint.post("/initial_token")
    def initial_token():
        """Step 1 without a browser."""
        state, body = sandbox_state(), _body()
        client = state.initial_clients.get(body.get("client_id", state.config.apps[0].client_id))
        user = state.config.users.get(body.get("user", next(iter(state.config.users))))
        if client is None or user is None:
            abort(404, "no such client_id or user")
        patient = body.get("patient", user.patients[0])
        if patient not in user.patients:
            abort(400, "not a patient of this user")
        granted = scopes.split(body["scope"]) if "scope" in body else _INITIAL_SCOPE
        lifetime = (
            -1 if body.get("expired") else body.get("expires_in", state.config.initial_token_ttl)
        )
        token = AccessToken(
            value=state.new_secret(),
            client=client,
            authorization=Authorization(user, patient, list(granted), body.get("access_period")),
            scope=list(granted),
            expires_at=state.now() + lifetime,
        )
        state.add_token(token)
        return jsonify(
            access_token=token.value,
            token_type="Bearer",
            expires_in=lifetime,
            scope=token.get_scope(),
            patient=patient,
        )

    return blueprint
