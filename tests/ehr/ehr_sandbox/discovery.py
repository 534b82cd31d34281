# SPDX-License-Identifier: Apache-2.0
"""Where everything is: SMART's document, the CapabilityStatement, and RFC 8414."""

from xml.sax.saxutils import escape

from flask import Blueprint, Response, jsonify, request

from . import faults, scopes
from .fhir import fhir_json, outcome
from .models import JWT_BEARER
from .server import note, sandbox_state

_OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_CAPABILITIES = "http://fhir-registry.smarthealthit.org/StructureDefinition/capabilities"


def _endpoints() -> dict:
    urls = sandbox_state().urls
    return {
        "issuer": urls.issuer,
        "authorization_endpoint": urls.authorization_endpoint,
        "token_endpoint": urls.token_endpoint,
        "registration_endpoint": urls.registration_endpoint,
        "revocation_endpoint": urls.revocation_endpoint,
        "scopes_supported": scopes.supported(),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "token_endpoint_auth_signing_alg_values_supported": sandbox_state().algorithms(),
        "authorization_response_iss_parameter_supported": bool(
            sandbox_state().switches.value("authorization_iss", False)
        ),
    }


def _smart_configuration() -> dict:
    return {
        **_endpoints(),
        # SMART lists no value for the JWT bearer grant: a client must not wait for one.
        "grant_types_supported": ["authorization_code"],
        "capabilities": [
            "launch-standalone",
            "client-public",
            "context-standalone-patient",
            "permission-patient",
            "permission-v2",
        ],
    }


def _capability_statement(with_register: bool, changes: dict) -> dict:
    """`changes` puts other URLs in the place of some, by the name that oauth-uris has for them."""
    urls = sandbox_state().urls
    uris = {"authorize": urls.authorization_endpoint, "token": urls.token_endpoint}
    if with_register:
        uris["register"] = urls.registration_endpoint
    uris["revoke"] = urls.revocation_endpoint
    uris.update(changes)
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        # Neither is first: a client has to look for mode and url.
        "rest": [
            {"mode": "client", "documentation": "this server as a client of others"},
            {
                "mode": "server",
                "security": {
                    "extension": [
                        {"url": _CAPABILITIES, "valueCode": "launch-standalone"},
                        {
                            "url": _OAUTH_URIS,
                            "extension": [{"url": n, "valueUri": u} for n, u in uris.items()],
                        },
                    ],
                    "service": [{"coding": [{"code": "SMART-on-FHIR"}]}],
                },
                "resource": [
                    {"type": name, "interaction": [{"code": "read"}, {"code": "search-type"}]}
                    for name in scopes.RESOURCE_TYPES
                ],
            },
        ],
    }


def _capability_statement_xml() -> Response:
    """Enough of the XML form to be what a client sees that did not ask for JSON."""
    token = escape(sandbox_state().urls.token_endpoint)
    body = (
        '<CapabilityStatement xmlns="http://hl7.org/fhir"><status value="active"/>'
        f'<rest><mode value="server"/><security><extension url="{_OAUTH_URIS}">'
        f'<extension url="token"><valueUri value="{token}"/></extension>'
        "</extension></security></rest></CapabilityStatement>"
    )
    return Response(body, content_type="application/fhir+xml; charset=utf-8")


def _relative(document: dict) -> dict:
    """Endpoint URLs relative to the FHIR base, which SMART says a client should resolve."""
    origin = sandbox_state().urls.origin
    return {
        name: value.replace(origin + "/oauth", "../oauth") if name.endswith("_endpoint") else value
        for name, value in document.items()
    }


def create_blueprint() -> Blueprint:
    blueprint = Blueprint("discovery", __name__)

    @blueprint.get("/fhir/.well-known/smart-configuration")
    def smart_configuration():
        document = _smart_configuration()
        switch = sandbox_state().switches.take("discovery")
        kind = switch["value"] if switch else None
        if kind == "not_found":
            return outcome(404, "not-found", "no such resource")
        if kind == "no_registration_endpoint":
            del document["registration_endpoint"]
        elif kind == "relative":
            document = _relative(document)
        elif kind == "plain_only":
            document["code_challenge_methods_supported"] = ["plain"]
        return faults.document_answer(switch, document, jsonify(document))

    @blueprint.get("/fhir/metadata")
    def metadata():
        epic_client_id = request.headers.get("Epic-Client-ID")
        note(epic_client_id=epic_client_id)
        switch = sandbox_state().switches.take("metadata")
        kind = switch["value"] if switch else None
        if kind == "not_found":
            return outcome(404, "not-found", "no such resource")
        if kind == "xml" or "json" not in request.headers.get("Accept", ""):
            return _capability_statement_xml()
        changes = switch.get("set", {}) if kind == "oauth_uris" else {}
        document = _capability_statement(
            epic_client_id in sandbox_state().initial_clients, changes
        )
        return faults.document_answer(switch, document, fhir_json(document))

    # RFC 8414 section 3.1: the well-known part goes between host and path of the issuer.
    @blueprint.get("/.well-known/oauth-authorization-server/fhir")
    def authorization_server_metadata():
        switch = sandbox_state().switches.take("rfc8414")
        kind = switch["value"] if switch else None
        if kind == "not_found":
            return jsonify(error="not_found"), 404
        document = {**_endpoints(), "grant_types_supported": ["authorization_code", JWT_BEARER]}
        if kind == "wrong_issuer":
            document["issuer"] = "https://attacker.example"
        return faults.document_answer(switch, document, jsonify(document))

    return blueprint
