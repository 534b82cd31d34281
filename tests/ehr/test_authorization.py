# SPDX-License-Identifier: Apache-2.0
"""Step 1 in the sandbox: what the authorization endpoint and the code exchange refuse."""

import unittest
from urllib.parse import parse_qs, urlencode, urlsplit

import login
from support import REDIRECT, REGISTER, SCOPE, SandboxTest, http


def query_of(location):
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


class AuthorizationEndpoint(SandboxTest):
    def assert_page(self, url):
        """The person is told; the app's address is not used."""
        answer = http(url)
        self.assertEqual(answer.status, 400)
        self.assertNotIn("Location", answer.headers)
        self.assertIn("text/html", answer.headers["Content-Type"])

    def assert_redirected(self, url, error):
        answer = http(url)
        self.assertIn(answer.status, (302, 303), answer)
        self.assertTrue(answer.headers["Location"].startswith(REDIRECT + "?"))
        self.assertEqual(query_of(answer.headers["Location"])["error"], error)
        return query_of(answer.headers["Location"])

    def test_unknown_client_is_told_to_the_person_only(self):
        self.assert_page(self.authorization_url(client_id="nobody"))

    def test_foreign_redirect_uri_is_never_redirected_to(self):
        for uri in (
            "https://attacker.example/callback",
            "http://127.0.0.1:4000/other",
            "http://127.0.0.1.attacker.example/callback",
            "http://user@127.0.0.1:4000/callback",
            "http://127.0.0.1:4000/callback#fragment",
            "http://127.0.0.1:4000/callback?more=1",
            "http://127.0.0.1:port/callback",
            "https://127.0.0.1:4000/callback",
            None,
        ):
            with self.subTest(uri=uri):
                self.assert_page(self.authorization_url(redirect_uri=uri))

    def test_loopback_literal_may_have_any_port_and_localhost_may_not(self):
        for port in (1024, 43210, 65535):
            uri = f"http://127.0.0.1:{port}/callback"
            self.assertEqual(http(self.authorization_url(redirect_uri=uri)).status, 200)
        self.assertEqual(
            http(self.authorization_url(redirect_uri="http://localhost/callback")).status, 200
        )
        self.assert_page(self.authorization_url(redirect_uri="http://localhost:8080/callback"))

    def test_repeated_parameter_is_refused(self):
        self.assert_page(self.authorization_url() + "&" + urlencode({"state": "again"}))

    def test_missing_state_is_refused(self):
        self.assertNotIn(
            "state", self.assert_redirected(self.authorization_url(state=None), "invalid_request")
        )

    def test_aud_must_be_the_fhir_base(self):
        for aud in (None, self.ehr.fhir_base + "/", "https://other.example/fhir"):
            with self.subTest(aud=aud):
                answer = self.assert_redirected(
                    self.authorization_url(aud=aud, state="abc"), "invalid_request"
                )
                self.assertEqual(answer["state"], "abc")

    def test_pkce_must_be_s256(self):
        for changes in (
            {"code_challenge": None, "code_challenge_method": None},
            {"code_challenge_method": None},
            {"code_challenge_method": "plain"},
            {"code_challenge": "short"},
        ):
            with self.subTest(changes=changes):
                self.assert_redirected(self.authorization_url(**changes), "invalid_request")

    def test_unknown_scope_is_refused(self):
        self.assert_redirected(
            self.authorization_url(scope="patient/*.rs user/*.cruds"), "invalid_scope"
        )

    def test_other_response_type_is_refused(self):
        self.assert_redirected(
            self.authorization_url(response_type="token"), "unsupported_response_type"
        )

    def test_markup_in_a_request_does_not_become_markup_in_a_page(self):
        answer = http(self.authorization_url(client_id="<script>alert(1)</script>"))
        self.assertNotIn("<script", answer.body)


class LoginPages(SandboxTest):
    def test_allow_ends_with_code_and_state(self):
        redirect = login.log_in(self.authorization_url(state="s" * 22))
        self.assertTrue(redirect.startswith(REDIRECT + "?"))
        self.assertEqual(query_of(redirect)["state"], "s" * 22)
        self.assertIn("code", query_of(redirect))

    def test_deny_ends_with_access_denied(self):
        answer = query_of(login.log_in(self.authorization_url(state="s" * 22), deny=True))
        self.assertEqual(answer["error"], "access_denied")
        self.assertEqual(answer["state"], "s" * 22)
        self.assertNotIn("code", answer)

    def test_wrong_password_goes_no_further(self):
        with self.assertRaisesRegex(login.LoginFailed, "not right"):
            login.log_in(self.authorization_url(), password="wrong")

    def test_unknown_user_gets_the_same_words_as_a_wrong_password(self):
        with self.assertRaisesRegex(login.LoginFailed, "User name or password is not right"):
            login.log_in(self.authorization_url(), user="mallory", password="x")

    def test_a_patient_of_somebody_else_is_refused(self):
        with self.assertRaisesRegex(login.LoginFailed, "403"):
            login.log_in(self.authorization_url(), user="bob", patient="pat-1")

    def test_consent_page_names_every_scope(self):
        browser = login.Browser()
        _, _, body = browser.open(self.authorization_url())
        for fields in ({"username": "alice", "password": "alice-password"}, {"patient": "pat-1"}):
            page = login._Page(body)
            ticket = dict(page.fields)["ticket"]
            _, _, body = browser.open(self.ehr.authorization_endpoint, {"ticket": ticket, **fields})
        for scope in SCOPE.split():
            self.assertIn(f'value="{scope}"', body)
        self.assertIn("Allow", body)
        self.assertIn("Deny", body)

    def test_a_decision_counts_once(self):
        browser = login.Browser()
        _, _, body = browser.open(self.authorization_url())
        ticket = dict(login._Page(body).fields)["ticket"]
        endpoint = self.ehr.authorization_endpoint
        browser.open(
            endpoint, {"ticket": ticket, "username": "alice", "password": "alice-password"}
        )
        browser.open(endpoint, {"ticket": ticket, "patient": "pat-1"})
        decision = [("ticket", ticket), ("decision", "allow"), ("scope", "patient/*.rs")]
        self.assertEqual(browser.open(endpoint, decision)[0], 302)
        self.assertEqual(browser.open(endpoint, decision)[0], 400)

    def test_an_odd_access_period_is_no_error(self):
        login.log_in(self.authorization_url(), access_period="for ever")

    def test_an_unticked_scope_is_not_granted(self):
        redirect = login.log_in(self.authorization_url(), without_scopes=[REGISTER])
        answer = self.exchange(query_of(redirect)["code"])
        self.assertNotIn(REGISTER, answer.json()["scope"].split())

    def test_pages_need_no_script_and_are_not_framed_or_kept(self):
        answer = http(self.authorization_url())
        self.assertNotIn("<script", answer.body)
        self.assertIn("default-src 'none'", answer.headers["Content-Security-Policy"])
        self.assertEqual(answer.headers["X-Frame-Options"], "DENY")
        self.assertEqual(answer.headers["Cache-Control"], "no-store")


class CodeExchange(SandboxTest):
    def test_answer_has_token_scope_patient_and_person_and_may_not_be_cached(self):
        answer = self.exchange(self.code())
        self.assertEqual(answer.status, 200)
        body = answer.json()
        self.assertEqual(body["token_type"], "Bearer")
        self.assertEqual(body["scope"], SCOPE)
        self.assertEqual(body["patient"], "pat-1")
        self.assertEqual(body["fhirUser"], self.ehr.fhir_base + "/Patient/pat-1")
        self.assertNotIn("refresh_token", body)
        self.assertEqual(answer.headers["Cache-Control"], "no-store")

    def test_second_use_of_a_code_is_refused_and_ends_its_token(self):
        code = self.code()
        token = self.exchange(code).json()["access_token"]
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 200)
        self.assertEqual(self.exchange(code).error, "invalid_grant")
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 401)

    def test_wrong_verifier_is_refused_and_the_code_is_gone(self):
        code = self.code()
        self.assertEqual(self.exchange(code, verifier="w" * 43).error, "invalid_grant")
        self.assertEqual(self.exchange(code).error, "invalid_grant")

    def test_missing_verifier_is_refused(self):
        self.assertEqual(self.exchange(self.code(), verifier=None).error, "invalid_request")

    def test_another_redirect_uri_is_refused(self):
        answer = self.exchange(self.code(), redirect_uri="http://127.0.0.1:1/callback")
        self.assertEqual(answer.error, "invalid_grant")

    def test_a_code_of_another_client_is_refused(self):
        self.assertEqual(self.exchange(self.code(), client_id="viewer").error, "invalid_grant")

    def test_a_code_does_not_last(self):
        code = self.code()
        self.switch(clock_offset=301)
        self.assertEqual(self.exchange(code).error, "invalid_grant")


if __name__ == "__main__":
    unittest.main()
