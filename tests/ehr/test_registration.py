# SPDX-License-Identifier: Apache-2.0
"""Step 2 in the sandbox: what the registration endpoint accepts, and each thing that it refuses."""

import base64
import concurrent.futures
import threading
import unittest

from authlib.jose import JsonWebKey
from werkzeug.test import Client
from werkzeug.wrappers import Response

from ehr_sandbox.app import create_app
from ehr_sandbox.config import Config
from ehr_sandbox.request_log import RequestLog
from ehr_sandbox.state import State, Urls
from support import JWT_BEARER, SandboxTest, http, new_key, public_jwk


class OneAtATime(unittest.TestCase):
    def test_two_requests_that_meet_after_the_token_check_cannot_both_win(self):
        meeting = threading.Barrier(2)

        class SlowState(State):
            def find_usable_token(self, value):
                token = super().find_usable_token(value)
                try:
                    meeting.wait(1)  # a second request may come as far as this, if nothing stops it
                except threading.BrokenBarrierError:
                    pass
                return token

        state = SlowState(Config.default(), Urls("http://127.0.0.1"), RequestLog())
        app = create_app(state)

        def post(path, **arguments):
            return Client(app, Response).post(
                path, environ_base={"REMOTE_ADDR": "127.0.0.1"}, **arguments
            )

        token = post("/_control/initial_token", json={}).json["access_token"]

        def register(key):
            body = {"software_id": "growth-chart-software", "jwks": {"keys": [public_jwk(key)]}}
            headers = {"Authorization": f"Bearer {token}"}
            return post("/oauth/register", json=body, headers=headers).status_code

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            self.assertEqual(sorted(pool.map(register, [new_key(), new_key()])), [201, 401])


class Registration(SandboxTest):
    def assert_refused(self, answer, words, status=400, error="invalid_client_metadata"):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.error, error)
        self.assertIn(words, answer.json()["error_description"])
        self.assertEqual(self.control("clients"), [])

    def test_answer_is_minimal_and_without_a_secret(self):
        answer = self.register(new_key())
        self.assertEqual(answer.status, 201)
        body = answer.json()
        self.assertEqual(
            set(body),
            {
                "client_id",
                "client_id_issued_at",
                "software_id",
                "token_endpoint_auth_method",
                "grant_types",
            },
        )
        self.assertEqual(body["software_id"], "growth-chart-software")
        self.assertEqual(body["token_endpoint_auth_method"], "none")
        self.assertEqual(body["grant_types"], [JWT_BEARER])
        self.assertEqual(answer.headers["Cache-Control"], "no-store")

    def test_the_explicit_request_form_is_accepted_as_well(self):
        answer = self.register(
            new_key(),
            grant_types=[JWT_BEARER],
            token_endpoint_auth_method="none",
            response_types=[],
            client_name="C",
        )
        self.assertEqual(answer.status, 201)

    def test_client_is_bound_to_user_patient_and_key_of_the_authorization(self):
        client_id, key = self.new_client(patient="pat-2")
        (client,) = self.control("clients")
        self.assertEqual(client["client_id"], client_id)
        self.assertEqual((client["user"], client["patient"]), ("alice", "pat-2"))
        self.assertEqual(client["thumbprint"], key.thumbprint())

    # The initial access token.

    def test_no_token_is_told_the_scheme(self):
        answer = self.register(new_key(), headers={})
        self.assertEqual(answer.status, 401)
        self.assertEqual(answer.headers["WWW-Authenticate"], 'Bearer realm="sandbox"')

    def test_bad_tokens_are_told_invalid_token(self):
        spent = self.initial_token()
        self.assertEqual(self.register(new_key(), spent).status, 201)
        for token in ("nonsense", spent, self.initial_token(expired=True)):
            answer = self.register(new_key(), token)
            self.assertEqual(answer.status, 401)
            self.assertIn('error="invalid_token"', answer.headers["WWW-Authenticate"])
            self.assertEqual(answer.error, "invalid_token")

    def test_basic_authorization_is_no_token(self):
        answer = self.register(new_key(), headers={"Authorization": "Basic Zm9vOmJhcg=="})
        self.assertEqual(answer.status, 401)

    def test_scheme_is_case_insensitive(self):
        answer = self.register(
            new_key(), headers={"Authorization": f"bearer {self.initial_token()}"}
        )
        self.assertEqual(answer.status, 201)

    def test_token_without_register_scope_is_forbidden(self):
        answer = self.register(new_key(), self.initial_token(scope="openid patient/*.rs"))
        self.assertEqual(answer.status, 403)
        self.assertIn('error="insufficient_scope"', answer.headers["WWW-Authenticate"])

    def test_token_of_a_dynamic_client_cannot_register(self):
        client_id, key = self.new_client()
        token = self.mint(client_id, key).json()["access_token"]
        self.assertEqual(self.register(new_key(), token).status, 401)

    def test_parallel_requests_with_one_token_make_one_client(self):
        token, keys = self.initial_token(), [new_key() for _ in range(8)]
        with concurrent.futures.ThreadPoolExecutor(len(keys)) as pool:
            statuses = sorted(
                answer.status for answer in pool.map(lambda key: self.register(key, token), keys)
            )
        self.assertEqual(statuses, [201] + [401] * 7)
        self.assertEqual(len(self.control("clients")), 1)

    def test_registration_ends_every_use_of_the_token(self):
        token = self.initial_token()
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 200)
        self.assertEqual(self.register(new_key(), token).status, 201)
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 401)

    def test_a_refused_registration_leaves_the_token_good(self):
        token, key = self.initial_token(), new_key()
        self.assertEqual(self.register(key, token, software_id="other").status, 400)
        self.assertEqual(self.register(key, token).status, 201)

    def test_a_refused_registration_ends_the_token_when_switched_so(self):
        self.switch(burn_initial_token_on_refusal=True)
        token, key = self.initial_token(), new_key()
        self.assertEqual(self.register(key, token, software_id="other").status, 400)
        self.assertEqual(self.register(key, token).status, 401)

    # software_id and other metadata.

    def test_software_id_of_another_app_is_refused(self):
        for software_id in ("viewer-software", "growth-chart", "", None, 7):
            with self.subTest(software_id=software_id):
                self.assert_refused(
                    self.register(new_key(), software_id=software_id), "software_id"
                )

    def test_each_app_has_its_own_software_id(self):
        token = self.initial_token(client_id="viewer")
        self.assertEqual(self.register(new_key(), token, software_id="viewer-software").status, 201)

    def test_other_grants_and_authentication_methods_are_refused(self):
        self.assert_refused(
            self.register(new_key(), grant_types=["authorization_code"]), "grant_types"
        )
        self.assert_refused(
            self.register(new_key(), token_endpoint_auth_method="client_secret_basic"),
            "token_endpoint_auth_method",
        )

    # The body.

    def test_body_must_be_a_json_object(self):
        headers = {
            "Authorization": f"Bearer {self.initial_token()}",
            "Content-Type": "application/json",
        }
        for body in (b"", b"[]", b"{", b'{"software_id":"a","software_id":"b"}', b"\xff"):
            answer = http(self.ehr.registration_endpoint, data=body, headers=headers, method="POST")
            self.assertEqual((answer.status, answer.error), (400, "invalid_client_metadata"), body)
            self.assertIn("not a JSON object", answer.json()["error_description"])

    def test_content_type_must_be_json(self):
        headers = {"Authorization": f"Bearer {self.initial_token()}", "Content-Type": "text/plain"}
        answer = http(self.ehr.registration_endpoint, data=b"{}", headers=headers, method="POST")
        self.assertEqual((answer.status, answer.error), (415, "invalid_request"))

    def test_other_methods_are_not_allowed(self):
        for method in ("GET", "PUT", "DELETE"):
            self.assertEqual(http(self.ehr.registration_endpoint, method=method).status, 405)

    # The key.

    def test_exactly_one_key(self):
        one, two = public_jwk(new_key()), public_jwk(new_key())
        for jwks in (
            {"keys": []},
            {"keys": [one, two]},
            {},
            [one],
            "keys",
            {"keys": "x"},
            {"keys": ["x"]},
            None,
        ):
            with self.subTest(jwks=jwks):
                answer = self.register(None, jwk={}, jwks=jwks)
                self.assertEqual(
                    (answer.status, answer.error), (400, "invalid_client_metadata"), answer
                )

    def test_private_members_are_refused(self):
        for algorithm in ("ES384", "RS384"):
            key = new_key(algorithm)
            jwk = {**key.as_dict(is_private=True), "kid": key.thumbprint()}
            self.assert_refused(self.register(key, jwk=jwk), "private")

    def test_symmetric_key_is_refused(self):
        jwk = {"kty": "oct", "kid": "a", "k": "c2VjcmV0"}
        self.assert_refused(self.register(None, jwk=jwk), "private")

    def test_key_without_kid_is_refused(self):
        key = new_key()
        self.assert_refused(self.register(key, jwk=public_jwk(key, kid=None)), "kid")

    def test_a_key_seen_before_is_refused_even_under_another_kid_and_app(self):
        client_id, key = self.new_client()
        self.control("forget_client", {"client_id": client_id})
        jwk = public_jwk(key, kid="another name")
        token = self.initial_token(client_id="viewer")
        self.assert_refused(
            self.register(key, token, jwk=jwk, software_id="viewer-software"), "before"
        )

    def test_algorithm_must_be_supported_and_fit_the_key(self):
        ec, rsa = new_key("ES384"), new_key("RS384")
        for key, alg in (
            (ec, "ES256"),
            (ec, "RS384"),
            (rsa, "ES384"),
            (rsa, "RS512"),
            (rsa, "PS384"),
            (ec, "none"),
        ):
            with self.subTest(alg=alg):
                self.assert_refused(self.register(key, jwk=public_jwk(key, alg)), "alg")

    def test_a_curve_without_a_supported_algorithm_is_refused(self):
        self.switch(supported_algs=["RS256", "RS384"])
        self.assert_refused(
            self.register(new_key("ES256"), algorithm="ES256"), "no supported algorithm"
        )
        self.assertEqual(self.register(new_key("RS256"), algorithm="RS256").status, 201)

    def test_other_curves_are_refused(self):
        key = JsonWebKey.generate_key("EC", "P-521", is_private=True)
        self.assert_refused(self.register(key, jwk=public_jwk(key, alg=None)), "kty")

    def test_short_rsa_keys_are_refused(self):
        key = JsonWebKey.generate_key("RSA", 1024, is_private=True)
        self.assert_refused(self.register(key, algorithm="RS384"), "2048")

    def test_a_key_for_encryption_is_refused(self):
        key = new_key()
        self.assert_refused(self.register(key, jwk=public_jwk(key, use="enc")), "verifying")

    def test_malformed_numbers_are_refused(self):
        def unpadded(octets):
            return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()

        ec, rsa = new_key("ES384"), new_key("RS384")
        x = base64.urlsafe_b64decode(public_jwk(ec)["x"])
        n = public_jwk(rsa, "RS384")["n"]
        modulus = base64.urlsafe_b64decode(n + "=" * (-len(n) % 4))
        for jwk, words in (
            (public_jwk(ec, x=unpadded(x[1:])), "full length"),
            (public_jwk(ec, x=unpadded(b"\0" + x)), "full length"),
            (public_jwk(ec, x=unpadded(bytes([x[0] ^ 1]) + x[1:])), "cannot be read"),
            (public_jwk(rsa, "RS384", n=unpadded(b"\0" + modulus)), "leading zero"),
            (public_jwk(rsa, "RS384", n=n + "=="), "base64url"),
        ):
            with self.subTest(words=words):
                self.assert_refused(self.register(None, jwk=jwk), words)


if __name__ == "__main__":
    unittest.main()
