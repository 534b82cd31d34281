# SPDX-License-Identifier: Apache-2.0
"""Step 3 in the sandbox: the jwt-bearer grant, rule by rule, and revocation of what it gave."""

import base64
import concurrent.futures
import json
import time
import unittest

from support import JWT_BEARER, SandboxTest, http, new_key


class JwtBearer(SandboxTest):
    def setUp(self):
        super().setUp()
        self.client_id, self.key = self.new_client()

    def assert_refused(self, answer, words, error="invalid_grant", status=400):
        self.assertEqual((answer.status, answer.error), (status, error), answer)
        self.assertIn(words, answer.json()["error_description"])

    def send(self, header=None, client_id=None, **changes):
        assertion = self.assertion(self.client_id, self.key, header=header, **changes)
        return self.token(client_id or self.client_id, assertion)

    def test_answer_has_token_lifetime_scope_and_patient(self):
        answer = self.send()
        self.assertEqual(answer.status, 200)
        body = answer.json()
        self.assertEqual(body["token_type"], "Bearer")
        self.assertEqual(body["expires_in"], 3600)
        self.assertEqual(body["scope"], "openid fhirUser launch/patient patient/*.rs")
        self.assertEqual(body["patient"], "pat-1")
        self.assertEqual(body["fhirUser"], self.ehr.fhir_base + "/Patient/pat-1")
        self.assertNotIn("refresh_token", body)
        self.assertEqual(answer.headers["Cache-Control"], "no-store")

    def test_fhir_user_is_told_only_to_those_who_were_granted_it(self):
        client_id, key = self.new_client(scope="patient/*.rs system/DynamicClient.register")
        self.assertNotIn("fhirUser", self.mint(client_id, key).json())

    # The assertion's header.

    def test_typ_must_be_exactly_jwt(self):
        for typ in (None, "jwt", "at+jwt", "client-authentication+jwt"):
            with self.subTest(typ=typ):
                self.assert_refused(self.send(header={"typ": typ}), "typ")

    def test_kid_must_be_the_registered_one(self):
        self.assert_refused(self.send(header={"kid": None}), "kid")
        self.assert_refused(self.send(header={"kid": "other"}), "kid")

    def test_algorithm_must_be_supported_and_the_keys_own(self):
        self.switch(supported_algs=["RS256"])
        self.assert_refused(self.send(), "alg")
        self.switch(supported_algs=None)
        client_id, key = self.new_client("RS256")
        self.assert_refused(self.mint(client_id, key, "RS384"), "alg")
        self.assertEqual(self.mint(client_id, key, "RS256").status, 200)

    def test_unsigned_assertion_is_refused(self):
        header, claims, _ = self.assertion(self.client_id, self.key).split(".")
        self.assert_refused(self.token(self.client_id, f"{header}.{claims}."), "signature")
        none = base64.urlsafe_b64encode(
            json.dumps({"alg": "none", "typ": "JWT", "kid": self.key.thumbprint()}).encode()
        ).rstrip(b"=")
        self.assert_refused(self.token(self.client_id, f"{none.decode()}.{claims}."), "alg")

    def test_header_with_a_key_of_its_own_is_refused(self):
        for name in ("jku", "x5u"):
            self.assert_refused(
                self.send(header={name: "https://attacker.example/keys"}), "its own key"
            )

    def test_signature_of_another_key_is_refused(self):
        other = new_key()
        assertion = self.assertion(self.client_id, other, header={"kid": self.key.thumbprint()})
        self.assert_refused(self.token(self.client_id, assertion), "signature")

    def test_garbage_is_refused(self):
        for assertion in ("x", "a.b", "a.b.c", "a.b.c.d", "....", "e30.e30.", "W10.W10.AA"):
            self.assertEqual(self.token(self.client_id, assertion).status, 400, assertion)

    # The assertion's claims.

    def test_issuer_must_be_a_dynamic_client(self):
        self.assert_refused(self.send(iss="nobody"), "iss", "invalid_client")
        self.assert_refused(self.send(iss=None), "iss", "invalid_client")
        self.assert_refused(self.send(iss="growth-chart"), "iss", "invalid_client")

    def test_subject_must_be_the_issuer(self):
        self.assert_refused(self.send(sub="alice"), "sub")
        self.assert_refused(self.send(sub=None), "sub")

    def test_audience_must_be_exactly_the_token_endpoint(self):
        endpoint = self.ehr.token_endpoint
        for aud in (
            None,
            "",
            [endpoint],
            endpoint + "/",
            self.ehr.issuer,
            endpoint.upper(),
            [endpoint, "x"],
        ):
            with self.subTest(aud=aud):
                self.assert_refused(self.send(aud=aud), "aud")

    def test_another_audience_may_be_demanded_instead(self):
        other = "https://public-name.example/token"
        self.switch(token_audience=other)
        self.assert_refused(self.send(), f"exactly {other}")
        self.assertEqual(self.send(aud=other).status, 200)

    def test_expiry_must_be_near_and_ahead(self):
        now = int(time.time())
        self.assert_refused(self.send(exp=None), "exp")
        self.assert_refused(self.send(exp=now - 1), "exp has passed")
        self.assert_refused(self.send(exp=now + 320, iat=None, nbf=None), "ahead")
        self.assert_refused(self.send(exp=now + 280, iat=now - 30, nbf=None), "after iat")
        self.assert_refused(self.send(exp=now + 280, iat=None, nbf=now - 30), "after nbf")
        for exp in (str(now + 60), now + 60.5, True):
            self.assert_refused(self.send(exp=exp), "whole number")
        self.assertEqual(self.send(exp=now + 290, iat=None, nbf=None).status, 200)

    def test_issue_time_must_not_be_in_the_future(self):
        now = int(time.time())
        self.assert_refused(self.send(iat=now + 20), "iat is in the future")
        self.assert_refused(self.send(nbf=now + 20), "nbf is in the future")

    def test_jti_must_be_there_and_short(self):
        for jti in (None, "", "x" * 152, 7):
            self.assert_refused(self.send(jti=jti), "jti")
        self.assertEqual(self.send(jti="x" * 151).status, 200)

    def test_replay_is_refused(self):
        assertion = self.assertion(self.client_id, self.key)
        self.assertEqual(self.token(self.client_id, assertion).status, 200)
        self.assert_refused(self.token(self.client_id, assertion), "jti")

    def test_parallel_replays_give_one_token(self):
        assertion = self.assertion(self.client_id, self.key)
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda _: self.token(self.client_id, assertion).status, range(8))
            )
        self.assertEqual(sorted(answers), [200] + [400] * 7)

    def test_one_jti_serves_two_clients(self):
        other_id, other_key = self.new_client()
        self.assertEqual(self.send(jti="same").status, 200)
        other = self.assertion(other_id, other_key, jti="same")
        self.assertEqual(self.token(other_id, other).status, 200)

    # The request around it.

    def test_client_id_in_the_body_must_be_the_issuer(self):
        other_id, _ = self.new_client()
        self.assert_refused(self.send(client_id=other_id), "client_id")
        assertion = self.assertion(self.client_id, self.key)
        self.assert_refused(self.token(None, assertion), "client_id")

    def test_authorization_header_is_refused(self):
        assertion = self.assertion(self.client_id, self.key)
        answer = self.token(
            self.client_id, assertion, headers={"Authorization": "Basic Zm9vOmJhcg=="}
        )
        self.assert_refused(answer, "Authorization", "invalid_client", 401)

    def test_content_type_must_be_a_form(self):
        body = {"grant_type": JWT_BEARER, "client_id": self.client_id}
        self.assert_refused(
            http(self.ehr.token_endpoint, json_body=body), "form", "invalid_request"
        )

    def test_parameters_in_the_query_or_twice_are_refused(self):
        form = [("grant_type", JWT_BEARER), ("client_id", self.client_id)]
        form.append(("assertion", self.assertion(self.client_id, self.key)))
        self.assertEqual(
            http(self.ehr.token_endpoint + "?scope=openid", form=form).error, "invalid_request"
        )
        self.assertEqual(
            http(self.ehr.token_endpoint, form=form + form[:1]).error, "invalid_request"
        )
        self.assertEqual(http(self.ehr.token_endpoint, form=form).status, 200)

    def test_other_grants_are_not_for_a_dynamic_client(self):
        answer = http(
            self.ehr.token_endpoint, form={"grant_type": "password", "client_id": self.client_id}
        )
        self.assertEqual(answer.error, "unsupported_grant_type")

    # Scope.

    def test_scope_narrows(self):
        for scope in (
            "patient/Patient.rs",
            "patient/Patient.r",
            "patient/Observation.read",
            "patient/*.s openid",
        ):
            answer = self.mint(self.client_id, self.key, scope=scope)
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual(answer.json()["scope"], scope)

    def test_scope_cannot_grow(self):
        client_id, key = self.new_client(scope="patient/Patient.rs system/DynamicClient.register")
        for scope in (
            "patient/*.rs",
            "patient/Observation.r",
            "openid",
            "system/DynamicClient.register",
        ):
            self.assertEqual(self.mint(client_id, key, scope=scope).error, "invalid_scope", scope)
        self.assertEqual(self.mint(client_id, key, scope="patient/Patient.r").status, 200)

    def test_unknown_scope_is_refused(self):
        for scope in ("nonsense", "patient/Device.rs", "user/*.rs", "patient/*.cruds"):
            self.assertEqual(
                self.mint(self.client_id, self.key, scope=scope).error, "invalid_scope", scope
            )

    # The end of a client and of its tokens.

    def test_revoked_client_gets_nothing_until_restored(self):
        token = self.send().json()["access_token"]
        self.control("revoke", {"client_id": self.client_id})
        self.assert_refused(self.send(), "ended")
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 401)
        self.control("restore", {"client_id": self.client_id})
        self.assertEqual(self.send().status, 200)
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 200)

    def test_access_period_ends(self):
        client_id, key = self.new_client(access_period=3600)
        self.assertEqual(self.mint(client_id, key).status, 200)
        self.control("end_access_period", {"client_id": client_id})
        self.assert_refused(self.mint(client_id, key), "ended")

    def test_forgotten_client_is_unknown(self):
        self.control("forget_client", {"client_id": self.client_id})
        self.assert_refused(self.send(), "iss", "invalid_client")

    def test_revocation_endpoint_ends_a_token_of_its_client_only(self):
        token = self.send().json()["access_token"]
        other_id, _ = self.new_client()

        def revoke(client_id, token):
            return http(
                self.ehr.revocation_endpoint, form={"token": token, "client_id": client_id}
            ).status

        self.assertEqual(revoke(other_id, token), 200)
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 200)
        self.assertEqual(revoke(self.client_id, token), 200)
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 401)
        self.assertEqual(revoke(self.client_id, "unknown-token"), 200)
        self.assertEqual(revoke("nobody", token), 400)


if __name__ == "__main__":
    unittest.main()
