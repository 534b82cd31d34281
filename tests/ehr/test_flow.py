# SPDX-License-Identifier: Apache-2.0
"""The whole protocol with Authlib's own client, which shares no code with the daemon: what the two
agree on is the protocol, and not an error that daemon and sandbox have in common."""

import time
import unittest

from authlib.integrations.requests_client import AssertionSession, OAuth2Session
from authlib.oauth2.rfc7523 import JWTBearerGrant

import login
from support import JWT_BEARER, REDIRECT, REGISTER, SCOPE, SandboxTest, new_key


class ClientSession(AssertionSession):
    """Authlib's RFC 7523 client, which also says its client_id (RFC 7521 section 4.1)."""

    ASSERTION_METHODS = {JWT_BEARER: JWTBearerGrant.sign}

    def _refresh_token(self, data):
        return super()._refresh_token({**data, "client_id": self.issuer})


class Flow(SandboxTest):
    def run_flow(self, algorithm):
        config = (
            OAuth2Session()
            .get(f"{self.ehr.fhir_base}/.well-known/smart-configuration", withhold_token=True)
            .json()
        )

        # Step 1: authorization code with PKCE.
        initial = OAuth2Session(
            "growth-chart",
            scope=SCOPE,
            redirect_uri=REDIRECT,
            code_challenge_method="S256",
            token_endpoint_auth_method="none",
        )
        verifier = "independent-client-verifier-0123456789-abcdefghij"
        url, state = initial.create_authorization_url(
            config["authorization_endpoint"], code_verifier=verifier, aud=self.ehr.fhir_base
        )
        redirect = login.log_in(url, user="alice", patient="pat-2")
        token = initial.fetch_token(
            config["token_endpoint"],
            authorization_response=redirect,
            state=state,
            code_verifier=verifier,
        )
        self.assertIn(REGISTER, token["scope"].split())
        self.assertEqual(token["patient"], "pat-2")

        # Step 2: registration with that token.
        key = new_key(algorithm)
        jwk = {
            **key.as_dict(is_private=False),
            "kid": key.thumbprint(),
            "alg": algorithm,
            "use": "sig",
        }
        answer = initial.post(
            config["registration_endpoint"],
            json={"software_id": "growth-chart-software", "jwks": {"keys": [jwk]}},
        )
        self.assertEqual(answer.status_code, 201, answer.text)
        client_id = answer.json()["client_id"]
        self.assertEqual(initial.get(f"{self.ehr.fhir_base}/Patient/pat-2").status_code, 401)

        # Step 3: the JWT bearer grant, and a read with its token.
        now = int(time.time())
        session = ClientSession(
            token_endpoint=config["token_endpoint"],
            issuer=client_id,
            subject=client_id,
            grant_type=JWT_BEARER,
            claims={"jti": f"independent-{algorithm}"},
            key=key,
            header={"alg": algorithm, "kid": key.thumbprint()},
            issued_at=now,
            expires_at=now + 240,
        )
        patient = session.get(f"{self.ehr.fhir_base}/Patient/pat-2")
        self.assertEqual(patient.status_code, 200, patient.text)
        self.assertEqual(patient.json()["id"], "pat-2")
        self.assertEqual(session.token["token_type"], "Bearer")
        self.assertEqual(session.token["patient"], "pat-2")
        self.assertEqual(session.token["fhirUser"], f"{self.ehr.fhir_base}/Patient/pat-1")
        self.assertNotIn(REGISTER, session.token["scope"].split())
        self.assertEqual(session.get(f"{self.ehr.fhir_base}/Patient/pat-1").status_code, 403)

    def test_an_independent_client_gets_through_with_es384(self):
        self.run_flow("ES384")

    def test_an_independent_client_gets_through_with_es256(self):
        self.run_flow("ES256")

    def test_an_independent_client_gets_through_with_rs384(self):
        self.run_flow("RS384")

    def test_an_independent_client_gets_through_with_rs256(self):
        self.run_flow("RS256")


if __name__ == "__main__":
    unittest.main()
