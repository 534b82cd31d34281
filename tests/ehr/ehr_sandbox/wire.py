# SPDX-License-Identifier: Apache-2.0
"""Around every request: the log line, delays and cut connections, the Date header, TLS."""

import json
import socket
import ssl
import time
from typing import Optional

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

from .models import token_hash
from .state import State

_CONTROL = "/_control"
_ENDPOINTS = {
    "/oauth/authorize": "authorize",
    "/oauth/token": "token",
    "/oauth/register": "register",
    "/oauth/revoke": "revoke",
    "/fhir/.well-known/smart-configuration": "smart_configuration",
    "/fhir/metadata": "metadata",
    "/.well-known/oauth-authorization-server/fhir": "rfc8414",
}


def endpoint_name(path: str) -> Optional[str]:
    """The name by which switches know an endpoint."""
    return _ENDPOINTS.get(path) or ("fhir" if path.startswith("/fhir/") else None)


class Wire:
    """WSGI middleware. Nothing of the control interface is logged, delayed or dropped."""

    def __init__(self, app, state: State):
        self._app = app
        self._state = state

    def __call__(self, environ, start_response):
        path = environ["PATH_INFO"]
        if path == _CONTROL or path.startswith(_CONTROL + "/"):
            return self._app(environ, start_response)
        name = endpoint_name(path)
        # Flask sees a copy of environ, so that what it is to write to must be in there already.
        details = environ["sandbox.details"] = {}
        asked = environ["sandbox.wire"] = {"drop": False}
        started = time.time()
        self._sleep("delay_ms", name)
        if self._take("drop_before", name):
            return self._drop(environ, details, started, "before")
        response = Response.from_app(self._app, environ, buffered=True)
        if self._take("drop_after", name) or asked["drop"]:
            return self._drop(environ, details, started, "after")
        self._log(
            environ, details, started, status=response.status_code, **_describe_answer(response)
        )
        self._sleep("delay_after_ms", name)
        body, status, headers = response.get_wsgi_response(environ)
        start_response(status, headers)
        if self._take("cut_midway", name):
            return _half(environ, b"".join(body))
        drip = self._take("drip_ms", name)
        return _dripping(b"".join(body), drip["value"]) if drip else body

    def _take(self, switch: str, name: Optional[str]):
        return name and self._state.switches.take(f"{switch}.{name}")

    def _sleep(self, switch: str, name: Optional[str]) -> None:
        taken = self._take(switch, name)
        if taken:
            time.sleep(taken["value"] / 1000)

    def _drop(self, environ, details, started, when: str):
        """Ends the connection without a byte of an answer."""
        self._log(environ, details, started, status=None, dropped=when)
        _cut(environ)

    def _log(self, environ, details, started, **answer) -> None:
        request = Request(environ)
        entry = {
            "time": round(started, 6),
            "method": request.method,
            "path": request.path,
            "has_authorization": "Authorization" in request.headers,
            "has_cookie": "Cookie" in request.headers,
            "has_epic_client_id": "Epic-Client-ID" in request.headers,
            "content_type": request.headers.get("Content-Type"),
            "accept": request.headers.get("Accept"),
            "user_agent": request.headers.get("User-Agent"),
        }
        entry.update(details)
        for name, value in answer.items():
            if name != "error" or "error" not in details:
                entry[name] = value
        self._state.log.add(entry)


def _cut(environ) -> None:
    try:
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the client was faster
    raise ConnectionAbortedError("switched off")  # werkzeug gives up on the connection quietly


def _half(environ, body: bytes):
    yield body[: len(body) // 2]
    _cut(environ)


def _dripping(body: bytes, interval_ms: float):
    """A server that never stops and never gets done."""
    for octet in body:
        yield bytes([octet])
        time.sleep(interval_ms / 1000)


def _describe_answer(response: Response) -> dict:
    """Of the answer's body: an error code, the hash of a token, a client_id; nothing else."""
    if response.mimetype != "application/json":
        return {}
    try:
        body = json.loads(response.get_data())
    except ValueError:
        return {}
    described = {}
    if isinstance(body, dict):
        if isinstance(body.get("error"), str):
            described.update(error=body["error"], reason=body.get("error_description"))
        if isinstance(body.get("access_token"), str):
            described.update(
                token_hash=token_hash(body["access_token"]), granted_scope=body.get("scope")
            )
    return described


class _Handler(WSGIRequestHandler):
    def date_time_string(self, timestamp=None):
        """The Date header follows the server's clock: a client can see how far off it is."""
        return super().date_time_string(
            self.server.sandbox_state.now() if timestamp is None else timestamp
        )

    def log_request(self, code="-", size="-"):
        pass  # the request log has it


class Server(ThreadedWSGIServer):
    """One thread a connection. With TLS the handshake is in that thread too, so that a client which
    connects and then says nothing keeps nobody else waiting."""

    def __init__(self, host: str, port: int, tls: Optional[ssl.SSLContext] = None):
        super().__init__(host, port, app=None, handler=_Handler)
        self.ssl_context = tls  # werkzeug reads the URL scheme from it

    def serve(self, app, state: State) -> None:
        self.app = app
        self.sandbox_state = state
        self.serve_forever(poll_interval=0.1)

    def finish_request(self, request, client_address):
        if self.ssl_context:
            try:
                request.settimeout(30)
                request = self.ssl_context.wrap_socket(request, server_side=True)
            except OSError:
                return  # a client that does not trust us; its loss
        super().finish_request(request, client_address)
        if self.ssl_context:
            request.close()
