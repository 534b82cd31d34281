# SPDX-License-Identifier: Apache-2.0
"""Each switch does what README.md says, as often as it was told to, and nothing after."""

import http.client
import json
import time
import unittest
import urllib.error
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit

import login
from support import SCOPE, SandboxTest, http as http_request, new_key

# What urllib makes of a connection that is cut without an answer.
CUT = (urllib.error.URLError, ConnectionError, http.client.HTTPException)


class TokenSwitches(SandboxTest):
    def setUp(self):
        super().setUp()
        self.client_id, self.key = self.new_client()

    def send(self, **form):
        return self.mint(self.client_id, self.key, **form)

    def answer(self, value, **more):
        self.switch(token_answer={"value": value, **more, "times": 1})
        answer = self.send()
        self.assertEqual(self.send().json()["token_type"], "Bearer")  # used once, then off
        return answer

    def test_access_token_ttl_and_length(self):
        self.switch(access_token_ttl=5, access_token_length=3000)
        body = self.send().json()
        self.assertEqual(body["expires_in"], 5)
        self.assertEqual(len(body["access_token"]), 3000)

    def test_token_error_as_often_as_told(self):
        self.switch(token_error={"error": "invalid_grant", "times": 2})
        answers = [self.send() for _ in range(3)]
        self.assertEqual([a.status for a in answers], [400, 400, 200])
        self.assertEqual(answers[0].json(), {"error": "invalid_grant"})

    def test_token_error_forms(self):
        self.switch(token_error="unauthorized_client")
        self.assertEqual(self.send().error, "unauthorized_client")
        self.switch(token_error={"error": "invalid_client", "description": None, "status": 401})
        self.assertEqual(self.send().json(), {"error": "invalid_client", "error_description": None})
        self.switch(token_error={"status": 500, "html": True})
        answer = self.send()
        self.assertEqual(
            (answer.status, answer.headers["Content-Type"].split(";")[0]), (500, "text/html")
        )
        self.switch(token_error={"error": "slow_down", "status": 429, "retry_after": 7})
        self.assertEqual(self.send().headers["Retry-After"], "7")
        self.switch(
            token_error={"error": "server_error", "status": 503},
            retry_after="Wed, 21 Oct 2026 07:28:00 GMT",
        )
        self.assertEqual(self.send().headers["Retry-After"], "Wed, 21 Oct 2026 07:28:00 GMT")

    def test_token_error_leaves_the_code_exchange_alone_unless_told(self):
        self.switch(token_error="invalid_grant")
        self.assertEqual(self.exchange(self.code()).status, 200)
        self.switch(
            token_error={"error": "server_error", "status": 500, "grant": "authorization_code"}
        )
        self.assertEqual(self.send().status, 200)
        self.assertEqual(self.exchange(self.code()).status, 500)
        self.switch(token_error={"error": "server_error", "grant": "any"})
        self.assertEqual((self.send().status, self.exchange(self.code()).status), (400, 400))

    def test_an_injected_error_does_not_use_up_the_jti(self):
        assertion = self.assertion(self.client_id, self.key)
        self.switch(token_error={"error": "invalid_grant", "times": 1})
        self.assertEqual(self.token(self.client_id, assertion).status, 400)
        self.assertEqual(self.token(self.client_id, assertion).status, 200)
        first, second = self.log("/oauth/token")[-2:]
        self.assertEqual(first["jti"], second["jti"])

    def test_token_answers(self):
        self.assertIn("text/html", self.answer("html").headers["Content-Type"])
        self.assertRaises(ValueError, self.answer("malformed").json)
        self.assertGreater(len(self.answer("huge").body), 64 * 1024)
        self.assertGreater(len(self.answer("huge", bytes=200000).body), 200000)
        self.assertNotIn("token_type", self.answer("no_token_type").json())
        self.assertNotIn("scope", self.answer("no_scope").json())
        self.assertIn("user/*.cruds", self.answer("wider_scope").json()["scope"])
        self.assertNotIn("patient", self.answer("no_patient").json())
        self.assertEqual(self.answer("other_patient").json()["patient"], "pat-2")

    def test_expires_in_raw_or_missing(self):
        self.assertNotIn("expires_in", self.answer("expires_in").json())
        for raw in ("1e308", '"3600"', "-1", "0", "3600.5", '"1 hour"', "null", "{}"):
            self.assertIn(f'"expires_in": {raw}', self.answer("expires_in", raw=raw).body)

    def test_override_sets_removes_and_puts_in_raw_text(self):
        body = self.answer(
            "override", set={"token_type": "mac"}, remove=["scope"], raw={"expires_in": "07"}
        ).body
        self.assertIn('"token_type": "mac"', body)
        self.assertIn('"expires_in": 07', body)
        self.assertNotIn('"scope"', body)

    def test_redirect_goes_where_it_was_told(self):
        answer = self.answer("redirect", location="http://127.0.0.1:9/elsewhere")
        self.assertEqual(
            (answer.status, answer.headers["Location"]), (307, "http://127.0.0.1:9/elsewhere")
        )

    def test_supported_algorithms_are_enforced(self):
        self.switch(supported_algs=["RS256"])
        self.assertEqual(self.send().error, "invalid_grant")

    def test_clock_offset_moves_date_and_checks(self):
        self.switch(clock_offset=600)
        answer = self.send()
        self.assertEqual(answer.error, "invalid_grant")
        self.assertIn("exp has passed", answer.json()["error_description"])
        date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        self.assertGreater(date, time.time() + 300)


class RegistrationSwitches(SandboxTest):
    def answer(self, value, algorithm="ES384", **more):
        self.switch(registration_answer={"value": value, **more, "times": 1})
        self.key = new_key(algorithm)
        return self.register(self.key, algorithm=algorithm)

    def test_registration_error_leaves_the_token_unspent(self):
        self.switch(registration_error={"error": "invalid_client_metadata", "times": 1})
        token, key = self.initial_token(), new_key()
        self.assertEqual(self.register(key, token).error, "invalid_client_metadata")
        self.assertEqual(self.register(key, token).status, 201)

    def test_registration_error_with_status_and_retry_after(self):
        self.switch(
            registration_error={"error": "temporarily_unavailable", "status": 503, "retry_after": 9}
        )
        answer = self.register(new_key())
        self.assertEqual((answer.status, answer.headers["Retry-After"]), (503, "9"))

    def test_registration_answers(self):
        self.assertNotIn("client_id", self.answer("no_client_id").json())
        self.assertEqual(self.answer("wrong_software_id").json()["software_id"], "another-software")
        self.assertIn("client_secret", self.answer("client_secret").json())
        self.assertEqual(self.answer("no_jwt_bearer").json()["grant_types"], ["authorization_code"])
        self.assertGreater(len(self.answer("huge").body), 64 * 1024)
        self.assertIn("text/html", self.answer("html").headers["Content-Type"])
        self.assertRaises(ValueError, self.answer("malformed").json)
        self.assertEqual(self.answer("override", set={"client_id": 7}).json()["client_id"], 7)
        self.assertEqual(self.answer("redirect", location="http://127.0.0.1:9/").status, 307)

    def test_another_key_differs_in_its_material_only(self):
        for algorithm, member in (("ES384", "x"), ("RS384", "n")):
            (jwk,) = self.answer("other_key", algorithm).json()["jwks"]["keys"]
            self.assertEqual(jwk["kid"], self.key.thumbprint())
            self.assertNotEqual(jwk[member], self.key.as_dict()[member])
            self.assertNotIn("d", jwk)

    def test_epic_like_answer(self):
        body = self.answer("epic_like").json()
        self.assertEqual(body["software_id"], " growth-chart-software")
        self.assertTrue(body["redirect_uris"][0].startswith(" "))
        self.assertNotIn("kid", body["jwks"]["keys"][0])
        self.assertEqual(body["jwks"]["keys"][0]["x"], self.key.as_dict()["x"])

    def test_full_answer_has_the_key(self):
        body = self.answer("full").json()
        self.assertEqual(body["jwks"]["keys"][0]["kid"], self.key.thumbprint())

    def test_drop_after_work_leaves_a_client_behind(self):
        with self.assertRaises(CUT):
            self.answer("drop_after_work")
        self.assertEqual(len(self.control("clients")), 1)
        entry = self.log("/oauth/register")[-1]
        self.assertEqual((entry["status"], entry["dropped"]), (None, "after"))


class OtherSwitches(SandboxTest):
    def test_register_scope_is_not_granted(self):
        self.switch(grant_register_scope=False)
        scope = self.exchange(self.code()).json()["scope"].split()
        self.assertEqual(scope, SCOPE.split()[:-1])

    def test_issuer_in_the_redirect(self):
        def iss():
            return parse_qs(urlsplit(login.log_in(self.authorization_url())).query).get("iss")

        self.assertIsNone(iss())
        self.switch(authorization_iss=True)
        self.assertEqual(iss(), [self.ehr.issuer])
        self.switch(authorization_iss="wrong")
        self.assertNotEqual(iss(), [self.ehr.issuer])

    def test_delays_come_before_or_after_the_work(self):
        client_id, key = self.new_client()
        for switch in ("delay_ms", "delay_after_ms"):
            self.switch(**{switch: {"token": {"value": 300, "times": 1}}})
            started = time.monotonic()
            self.mint(client_id, key)
            self.assertGreaterEqual(time.monotonic() - started, 0.3)
            self.assertEqual(self.control("switches", {}), {})

    def test_a_delayed_endpoint_does_not_hold_up_the_others(self):
        self.switch(delay_ms={"token": 20000})
        connection = http.client.HTTPConnection(urlsplit(self.ehr.token_endpoint).netloc)
        connection.request(
            "POST", "/oauth/token", body="grant_type=x"
        )  # its answer is not waited for
        started = time.monotonic()
        self.assertEqual(self.fhir("Patient/pat-1").status, 401)
        self.assertLess(time.monotonic() - started, 15)
        connection.close()

    def test_drop_before_work_changes_nothing(self):
        token, key = self.initial_token(), new_key()
        self.switch(drop_before={"register": {"value": True, "times": 1}})
        with self.assertRaises(CUT):
            self.register(key, token)
        self.assertEqual(self.control("clients"), [])
        self.assertEqual(self.register(key, token).status, 201)

    def test_drop_after_work_has_used_up_the_assertion(self):
        client_id, key = self.new_client()
        assertion = self.assertion(client_id, key)
        self.switch(drop_after={"token": {"value": True, "times": 1}})
        with self.assertRaises(CUT):
            self.token(client_id, assertion)
        self.assertIn("jti", self.token(client_id, assertion).json()["error_description"])

    def test_cut_midway_sends_half_of_the_answer(self):
        client_id, key = self.new_client()
        self.switch(cut_midway={"token": {"value": True, "times": 1}})
        with self.assertRaises(http.client.IncompleteRead) as caught:
            self.mint(client_id, key)
        self.assertIn(b'"access_token"', caught.exception.partial)
        self.assertEqual(self.mint(client_id, key).status, 200)

    def test_drip_sends_the_whole_answer_slowly(self):
        self.switch(drip_ms={"smart_configuration": 1})
        started = time.monotonic()
        answer = http_request(f"{self.ehr.fhir_base}/.well-known/smart-configuration")
        self.assertEqual(answer.json()["token_endpoint"], self.ehr.token_endpoint)
        self.assertGreater(time.monotonic() - started, len(answer.body) / 1000)

    def test_unknown_names_and_values_are_refused_and_change_nothing(self):
        for switches in (
            {"access_token_ttl": 5, "tokenerror": 1},
            {"access_token_ttl": 5, "token_answer": "no-such"},
            {"access_token_ttl": 5, "delay_ms": 100},
            {"access_token_ttl": 5, "delay_ms": {"tokens": 100}},
            {"access_token_ttl": 5, "token_error": {"error": "x", "times": 0}},
        ):
            answer = http_request(f"{self.ehr.control}/switches", json_body=switches)
            self.assertEqual(answer.status, 400, switches)
            self.assertTrue(answer.error)
        self.assertEqual(self.control("switches", method="GET"), {})

    def test_switches_are_cleared_by_null_delete_and_reset(self):
        self.switch(access_token_ttl=5, grant_register_scope=False)
        self.assertEqual(set(self.switch(access_token_ttl=None)), {"grant_register_scope"})
        self.control("switches", method="DELETE")
        self.assertEqual(self.control("switches", method="GET"), {})
        self.switch(access_token_ttl=5)
        self.control("reset", {})
        self.assertEqual(self.control("switches", method="GET"), {})


if __name__ == "__main__":
    unittest.main()
