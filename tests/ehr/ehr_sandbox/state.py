# SPDX-License-Identifier: Apache-2.0
"""Everything the server holds, in memory, behind one lock."""

import secrets
import threading
import time
from typing import Dict, Optional

from .config import Config
from .models import AccessToken, AuthorizationCode, DynamicClient, InitialClient
from .request_log import RequestLog
from .switches import Switches


class Urls:
    """The addresses this server publishes, which are also the only ones it accepts as `aud`."""

    def __init__(self, origin: str):
        self.origin = origin
        self.fhir_base = origin + "/fhir"
        self.issuer = self.fhir_base
        self.authorization_endpoint = origin + "/oauth/authorize"
        self.token_endpoint = origin + "/oauth/token"
        self.registration_endpoint = origin + "/oauth/register"
        self.revocation_endpoint = origin + "/oauth/revoke"
        self.control = origin + "/_control"


class State:
    """Methods are thread-safe; who checks and then acts on its members holds `lock` meanwhile."""

    def __init__(self, config: Config, urls: Urls, log: RequestLog):
        self.config = config
        self.urls = urls
        self.log = log
        self.switches = Switches()
        self.lock = threading.RLock()
        self.initial_clients = {app.client_id: InitialClient(app) for app in config.apps}
        self.reset()

    def reset(self) -> None:
        """Forgets every grant, client, key and token, every switch, and the log."""
        with self.lock:
            self.dynamic_clients: Dict[str, DynamicClient] = {}
            self.codes: Dict[str, AuthorizationCode] = {}
            self.tokens: Dict[str, AccessToken] = {}
            self.known_thumbprints = set()
            self._jtis: Dict[tuple, float] = {}
            self.switches.clear()
            self.log.clear()

    def now(self) -> float:
        """This server's idea of the time: the machine's, moved by the switch `clock_offset`."""
        return time.time() + self.switches.value("clock_offset", 0)

    def find_client(self, client_id: str):
        with self.lock:
            return self.initial_clients.get(client_id) or self.dynamic_clients.get(client_id)

    def algorithms(self):
        return self.switches.value("supported_algs", self.config.algorithms)

    def new_secret(self, length: int = 43) -> str:
        """`length` characters that can stand in a bearer token."""
        return secrets.token_urlsafe(length)[:length]

    def find_usable_token(self, value: str) -> Optional[AccessToken]:
        with self.lock:
            token = self.tokens.get(value)
            return token if token and token.is_usable(self.now()) else None

    def add_token(self, token: AccessToken) -> None:
        with self.lock:
            self.tokens[token.value] = token

    def use_jti(self, issuer: str, jti: str, expires_at: float) -> bool:
        """Records a jti; False when this issuer has used it in an assertion that still lives."""
        with self.lock:
            now = self.now()
            if self._jtis.get((issuer, jti), 0) > now:
                return False
            self._jtis[(issuer, jti)] = expires_at
            return True
