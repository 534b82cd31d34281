# SPDX-License-Identifier: Apache-2.0
"""Puts the parts together."""

from flask import Flask

from . import authorization, control, discovery, fhir, registration, revocation, token_endpoint
from .server import SandboxAuthorizationServer
from .state import State
from .wire import Wire


def create_app(state: State):
    """The whole sandbox as a WSGI application."""
    flask = Flask(__name__, static_folder=None)
    flask.config["SANDBOX_STATE"] = state
    flask.config["MAX_CONTENT_LENGTH"] = 256 * 1024
    server = SandboxAuthorizationServer(state)
    server.init_app(flask)
    for create_blueprint in (
        authorization.create_blueprint,
        token_endpoint.create_blueprint,
        registration.create_blueprint,
        revocation.create_blueprint,
    ):
        flask.register_blueprint(create_blueprint(server))
    for create_blueprint in (
        discovery.create_blueprint,
        fhir.create_blueprint,
        control.create_blueprint,
    ):
        flask.register_blueprint(create_blueprint())
    return Wire(flask, state)
