# SPDX-License-Identifier: Apache-2.0
"""What a switched-on fault does to an answer. The server has done its work honestly by then, except
where `error_answer` takes its place. README.md has the list."""

import base64
import json
from typing import Optional

from authlib.jose import JsonWebKey
from flask import Response, request

from . import keys
from .server import note, sandbox_state

_HTML = "<!doctype html><html><head><title>Guest network</title></head><body>Sign in.</body></html>"
_HUGE = 80 * 1024  # more than the 64 KB that a client should read


def html_answer(status: int = 200) -> Response:
    """What a captive portal or a web application firewall says."""
    return Response(_HTML, status=status, mimetype="text/html")


def error_answer(switch_name: str, **conditions) -> Optional[Response]:
    """The refusal that a switch asks for, or None. The request is not looked at."""
    switches = sandbox_state().switches
    switch = switches.take(switch_name, **conditions)
    if switch is None:
        return None
    status = switch.get("status", 400)
    if switch.get("html"):
        response = html_answer(status)
    else:
        body = {"error": switch["error"]}
        if "description" in switch:
            body["error_description"] = switch["description"]
        response = Response(json.dumps(body), status=status, mimetype="application/json")
    if "location" in switch:
        response.headers["Location"] = switch["location"]
    note(error=switch.get("error"), reason=f"switch {switch_name}")
    retry_after = switch.get("retry_after")
    if retry_after is None:
        again = switches.take("retry_after")
        retry_after = again["value"] if again else None
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _override(body: dict, switch: dict) -> str:
    """As text, after `set` (values by name), `remove` (names) and `raw` (JSON texts by name)."""
    body = {**body, **switch.get("set", {})}
    for name in switch.get("remove", []):
        body.pop(name, None)
    members = [
        f"{json.dumps(name)}: {json.dumps(value)}"
        for name, value in body.items()
        if name not in switch.get("raw", {})
    ]
    members += [f"{json.dumps(name)}: {raw}" for name, raw in switch.get("raw", {}).items()]
    return "{" + ", ".join(members) + "}"


def _raw(switch: dict) -> Response:
    """An answer made of what the test gives: any status, type and bytes."""
    body = base64.b64decode(switch["base64"]) if "base64" in switch else switch.get("body", "")
    return Response(
        body,
        status=switch.get("status", 200),
        content_type=switch.get("content_type", "application/json"),
    )


def document_answer(switch: Optional[dict], document: dict, response: Response) -> Response:
    """A discovery document, or what a switch makes of it that any document may have."""
    kind = switch["value"] if switch else None
    changed = _common(kind, switch, response, document) if switch else None
    if changed is not None:
        note(fault=kind)
    return changed or response


def _common(kind: str, switch: dict, response: Response, body: dict) -> Optional[Response]:
    """Faults that look the same at every endpoint."""
    if kind == "html":
        return html_answer(200)
    if kind == "raw":
        return _raw(switch)
    if kind == "drop_after_work":
        request.environ["sandbox.wire"]["drop"] = True
        return response
    if kind == "redirect":
        response = Response(status=switch.get("status", 307))
        response.headers["Location"] = switch["location"]
        return response
    if kind == "malformed":
        response.set_data(json.dumps(body)[:-1] + ", ")
    elif kind == "huge":
        response.set_data(json.dumps({**body, "padding": "x" * switch.get("bytes", _HUGE)}))
    elif kind == "override":
        response.set_data(_override(body, switch))
    else:
        return None
    return response


def registration_answer(response: Response) -> Response:
    """The 201, or what `registration_answer` makes of it."""
    if response.status_code != 201:
        return response
    state = sandbox_state()
    switch = state.switches.take("registration_answer")
    if switch is None:
        return response
    kind, body = switch["value"], json.loads(response.get_data())
    client = state.dynamic_clients[body["client_id"]]
    note(fault=kind)
    changed = _common(kind, switch, response, body)
    if changed is not None:
        return changed
    if kind == "no_client_id":
        del body["client_id"]
    elif kind == "wrong_software_id":
        body["software_id"] = "another-software"
    elif kind == "client_secret":
        body.update(
            client_secret="sandbox-client-secret-not-to-be-kept", client_secret_expires_at=0
        )
    elif kind == "no_jwt_bearer":
        body["grant_types"] = ["authorization_code"]
    elif kind == "other_key":
        body["jwks"] = {"keys": [_foreign_key(client.jwk)]}
    elif kind == "epic_like":
        body = _epic_like(body, client.jwk)
    elif kind == "full":
        body.update(
            jwks={"keys": [client.jwk]},
            response_types=[],
            application_type="native",
            require_auth_time=False,
        )
    response.set_data(json.dumps(body))
    return response


def _foreign_key(jwk: dict) -> dict:
    """Another key of the same kind under the same kid: told apart by its material only."""
    if jwk["kty"] == "EC":
        other = keys.generate_ec_key(jwk["crv"])
    else:
        other = JsonWebKey.generate_key("RSA", 2048)
    return {**other.as_dict(is_private=False), "kid": jwk["kid"]}


def _epic_like(body: dict, jwk: dict) -> dict:
    """What Epic's documentation shows: leading spaces, the parent's redirect URIs, no kid."""
    bare = {name: jwk[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in jwk}
    return {
        "redirect_uris": [" https://fhir.example/test/smart"],
        "token_endpoint_auth_method": "none",
        "grant_types": body["grant_types"],
        "software_id": " " + body["software_id"],
        "client_id": body["client_id"],
        "client_id_issued_at": body["client_id_issued_at"],
        "jwks": {"keys": [bare]},
    }


def token_answer(response: Response, state, grant: str) -> Response:
    """The 200, or what `token_answer` makes of it."""
    if response.status_code != 200:
        return response
    switch = state.switches.take("token_answer", grant=grant)
    if switch is None:
        return response
    kind, body = switch["value"], json.loads(response.get_data())
    note(fault=kind)
    changed = _common(kind, switch, response, body)
    if changed is not None:
        return changed
    if kind == "expires_in":
        # Without `raw` the member is missing; `raw` is JSON text, for 1e308 and other oddities.
        change = (
            {"raw": {"expires_in": switch["raw"]}}
            if "raw" in switch
            else {"remove": ["expires_in"]}
        )
        response.set_data(_override(body, change))
        return response
    if kind == "no_token_type":
        del body["token_type"]
    elif kind == "no_patient":
        del body["patient"]
    elif kind == "no_scope":
        del body["scope"]
    elif kind == "wider_scope":
        body["scope"] = (body["scope"] + " patient/*.cruds user/*.cruds").strip()
    elif kind == "other_patient":
        body["patient"] = "pat-1" if body["patient"] != "pat-1" else "pat-2"
    response.set_data(json.dumps(body))
    return response
