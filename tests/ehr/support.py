# SPDX-License-Identifier: Apache-2.0
"""What the tests of the sandbox share: a running sandbox, plain HTTP, keys and assertions."""

import base64
import hashlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
import uuid

from authlib.jose import JsonWebKey, JsonWebSignature

import login
from ehr_sandbox.keys import generate_ec_key

HERE = os.path.dirname(os.path.abspath(__file__))
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
REGISTER = "system/DynamicClient.register"
SCOPE = f"openid fhirUser launch/patient patient/*.rs {REGISTER}"
REDIRECT = "http://127.0.0.1:43210/callback"
START_LIMIT = 60  # seconds


class Sandbox:
    """One sandbox process with its own directory; use it as a context manager."""

    def __init__(self, *arguments, name="127.0.0.1"):
        self._directory = tempfile.TemporaryDirectory(prefix="smartkey-ehr-")
        self.log_file = os.path.join(self._directory.name, "log.json")
        ready_file = os.path.join(self._directory.name, "ready.json")
        command = [
            sys.executable,
            os.path.join(HERE, "sandbox.py"),
            "--port",
            "0",
            "--until-stdin-closes",
        ]
        command += [
            "--ready-file",
            ready_file,
            "--log-file",
            self.log_file,
            "--name",
            name,
            *arguments,
        ]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        deadline = time.monotonic() + START_LIMIT
        while not os.path.exists(ready_file):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError("the sandbox did not start")
            time.sleep(0.02)
        with open(ready_file, encoding="utf-8") as file:
            self.urls = json.load(file)

    def __getattr__(self, name):
        try:
            return self.__dict__["urls"][name]
        except KeyError:
            raise AttributeError(name) from None

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._directory.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Answer:
    """An HTTP answer, whatever its status; no redirect is followed."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json().get("error")

    def __repr__(self):
        return f"Answer({self.status}, {self.body[:200]!r})"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None


_OPENER = urllib.request.build_opener(_NoRedirect(), urllib.request.ProxyHandler({}))


def http(url, form=None, json_body=None, headers=None, method=None, data=None):
    """One request. `form` is a dict or a list of pairs."""
    headers = dict(headers or {})
    if form is not None:
        data = urllib.parse.urlencode(form).encode()
    elif json_body is not None:
        data = json.dumps(json_body).encode()
        headers.setdefault("Content-Type", "application/json")
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        answer = _OPENER.open(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return Answer(answer.code, answer.headers, answer.read().decode())


def new_key(algorithm="ES384"):
    """A fresh private key as Authlib's JWK, whose kid is its thumbprint."""
    if algorithm.startswith("ES"):
        return generate_ec_key({"ES256": "P-256", "ES384": "P-384"}[algorithm])
    return JsonWebKey.generate_key("RSA", 2048, is_private=True)


def public_jwk(key, algorithm="ES384", **changes):
    """What is registered; a change of None takes the member away."""
    jwk = {
        **key.as_dict(is_private=False),
        "kid": key.thumbprint(),
        "use": "sig",
        "alg": algorithm,
        **changes,
    }
    return {name: value for name, value in jwk.items() if value is not None}


class SandboxTest(unittest.TestCase):
    """A test case with one sandbox for the class, reset before each test."""

    arguments = ()

    @classmethod
    def setUpClass(cls):
        cls.ehr = Sandbox(*cls.arguments)
        cls.addClassCleanup(cls.ehr.stop)

    def setUp(self):
        self.control("reset", {})

    # The control interface.

    def control(self, path, body=None, method=None):
        answer = http(f"{self.ehr.control}/{path}", json_body=body, method=method)
        self.assertEqual(answer.status, 200, answer)
        return answer.json()

    def switch(self, **switches):
        return self.control("switches", switches)

    def log(self, path=None, since=0):
        query = {"since": since, **({"path": path} if path else {})}
        return self.control("log?" + urllib.parse.urlencode(query))

    # Step 1.

    def authorization_url(self, verifier="v" * 43, **changes):
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
            .rstrip(b"=")
            .decode()
        )
        parameters = {
            "response_type": "code",
            "client_id": "growth-chart",
            "redirect_uri": REDIRECT,
            "scope": SCOPE,
            "state": secrets.token_urlsafe(22),
            "aud": self.ehr.fhir_base,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **changes,
        }
        parameters = {name: value for name, value in parameters.items() if value is not None}
        return f"{self.ehr.authorization_endpoint}?{urllib.parse.urlencode(parameters)}"

    def code(self, **changes):
        redirect = login.log_in(self.authorization_url(**changes))
        return urllib.parse.parse_qs(urllib.parse.urlsplit(redirect).query)["code"][0]

    def exchange(self, code, verifier="v" * 43, **changes):
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "client_id": "growth-chart",
            "code_verifier": verifier,
            **changes,
        }
        return http(self.ehr.token_endpoint, form={k: v for k, v in form.items() if v is not None})

    def initial_token(self, **options):
        return self.control("initial_token", options)["access_token"]

    # Step 2.

    def register(self, key, token=None, algorithm="ES384", headers=None, jwk=None, **changes):
        body = {
            "software_id": "growth-chart-software",
            "jwks": {"keys": [jwk if jwk is not None else public_jwk(key, algorithm)]},
            **changes,
        }
        body = {name: value for name, value in body.items() if value is not None}
        if headers is None:
            headers = {"Authorization": f"Bearer {token or self.initial_token()}"}
        return http(self.ehr.registration_endpoint, json_body=body, headers=headers)

    def new_client(self, algorithm="ES384", **token_options):
        """A registered client as (client_id, key)."""
        key = new_key(algorithm)
        answer = self.register(key, self.initial_token(**token_options), algorithm)
        self.assertEqual(answer.status, 201, answer)
        return answer.json()["client_id"], key

    # Step 3.

    def assertion(self, client_id, key, algorithm="ES384", header=None, **changes):
        now = int(time.time())
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": self.ehr.token_endpoint,
            "jti": str(uuid.uuid4()),
            "iat": now - 30,
            "nbf": now - 30,
            "exp": now + 100,
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        full = {"alg": algorithm, "typ": "JWT", "kid": key.thumbprint(), **(header or {})}
        # Not jwt.encode: that puts its own typ into every header.
        protected = {name: value for name, value in full.items() if value is not None}
        return (
            JsonWebSignature()
            .serialize_compact(protected, json.dumps(claims).encode(), key)
            .decode()
        )

    def token(self, client_id, assertion, headers=None, **changes):
        form = {"grant_type": JWT_BEARER, "assertion": assertion, "client_id": client_id, **changes}
        form = {name: value for name, value in form.items() if value is not None}
        return http(self.ehr.token_endpoint, form=form, headers=headers)

    def mint(self, client_id, key, algorithm="ES384", **form):
        return self.token(client_id, self.assertion(client_id, key, algorithm), **form)

    # The FHIR server.

    def fhir(self, path, token=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return http(f"{self.ehr.fhir_base}/{path}", headers=headers)
