# SPDX-License-Identifier: Apache-2.0
"""The sandbox as a program: start, log, configuration, TLS, end; and login.py as one."""

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from urllib.parse import parse_qs, urlsplit

import login
from support import HERE, REDIRECT, Sandbox, SandboxTest, http as http_request, new_key


class RequestLog(SandboxTest):
    def test_one_line_a_request_and_none_for_control(self):
        client_id, key = self.new_client()
        self.control("log", method="DELETE")
        token = self.mint(client_id, key, scope="patient/*.rs").json()["access_token"]
        self.fhir("Patient/pat-1", token)
        entries = self.log()
        self.assertEqual([e["path"] for e in entries], ["/oauth/token", "/fhir/Patient/pat-1"])
        minted, read = entries
        self.assertEqual(minted["client_id"], client_id)
        self.assertEqual(minted["assertion_header"]["kid"], key.thumbprint())
        self.assertEqual(minted["assertion_claims"]["jti"], minted["jti"])
        self.assertEqual(minted["scope"], "patient/*.rs")
        self.assertEqual(minted["content_type"], "application/x-www-form-urlencoded")
        self.assertFalse(minted["has_authorization"] or minted["has_cookie"])
        self.assertTrue(read["has_authorization"])
        self.assertEqual(minted["token_hash"], read["token_hash"])
        self.assertEqual(self.log(since=minted["seq"]), [read])
        self.assertEqual(self.log(path="/oauth/token"), [minted])

    def test_registration_is_described_by_names_and_thumbprint(self):
        key = new_key()
        self.assertEqual(self.register(key).status, 201)
        entry = self.log("/oauth/register")[-1]
        self.assertEqual(entry["members"], ["jwks", "software_id"])
        self.assertEqual(entry["key_members"], [["alg", "crv", "kid", "kty", "use", "x", "y"]])
        self.assertEqual(entry["thumbprint"], key.thumbprint())

    def test_refusals_say_error_and_reason(self):
        client_id, key = self.new_client()
        self.token(client_id, self.assertion(client_id, key, aud="elsewhere"))
        entry = self.log("/oauth/token")[-1]
        self.assertEqual((entry["status"], entry["error"]), (400, "invalid_grant"))
        self.assertIn("aud", entry["reason"])

    def test_no_secret_is_in_the_file(self):
        code = self.code()
        initial = self.exchange(code).json()["access_token"]
        key = new_key()
        client_id = self.register(key, initial).json()["client_id"]
        assertion = self.assertion(client_id, key)
        token = self.token(client_id, assertion).json()["access_token"]
        self.token(client_id, "not.an.assertion")
        self.fhir("Patient/pat-1", token)
        http_request(self.ehr.revocation_endpoint, form={"token": token, "client_id": client_id})
        with open(self.ehr.log_file, encoding="utf-8") as file:
            text = file.read()
        self.assertIn(client_id, text)
        for secret in (
            code,
            initial,
            token,
            assertion,
            assertion.split(".")[2],
            "v" * 43,
            "alice-password",
        ):
            self.assertNotIn(secret, text)
        for line in text.splitlines():
            json.loads(line)


class LoginCommand(SandboxTest):
    def run_login(self, *arguments, stdin=None):
        command = [sys.executable, os.path.join(HERE, "login.py"), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)

    def test_prints_the_redirect(self):
        run = self.run_login(
            self.authorization_url(state="s" * 22), "--user", "alice", "--patient", "pat-2"
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertTrue(run.stdout.startswith(REDIRECT + "?code="))
        code = parse_qs(urlsplit(run.stdout.strip()).query)["code"][0]
        self.assertEqual(self.exchange(code).json()["patient"], "pat-2")

    def test_deny_prints_the_error_redirect(self):
        run = self.run_login(self.authorization_url(), "--deny")
        self.assertEqual(run.returncode, 0)
        self.assertIn("error=access_denied", run.stdout)

    def test_password_from_stdin_or_file(self):
        run = self.run_login(self.authorization_url(), "--password-stdin", stdin="alice-password\n")
        self.assertEqual(run.returncode, 0, run.stderr)
        run = self.run_login(self.authorization_url(), "--password-stdin", stdin="wrong\n")
        self.assertEqual(run.returncode, 1)
        self.assertIn("not right", run.stderr)
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("alice-password\n")
            file.flush()
            run = self.run_login(self.authorization_url(), "--password-file", file.name)
        self.assertEqual(run.returncode, 0, run.stderr)

    def test_follow_delivers_to_the_listener_and_prints_its_title(self):
        seen = []

        class Listener(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"<!doctype html><title>All done</title>")

            def log_message(self, *_):
                pass

        listener = http.server.HTTPServer(("127.0.0.1", 0), Listener)
        thread = threading.Thread(target=listener.handle_request)
        thread.start()
        self.addCleanup(listener.server_close)
        redirect = f"http://127.0.0.1:{listener.server_port}/callback"
        run = self.run_login(self.authorization_url(redirect_uri=redirect), "--follow")
        self.assertEqual((run.returncode, run.stdout), (0, "All done\n"), run.stderr)
        thread.join(timeout=10)
        self.assertTrue(seen[0].startswith("/callback?code="))

    def test_access_period_and_unticked_scope_reach_the_server(self):
        run = self.run_login(
            self.authorization_url(), "--access-period", "3600", "--without-scope", "patient/*.rs"
        )
        code = parse_qs(urlsplit(run.stdout.strip()).query)["code"][0]
        answer = self.exchange(code).json()
        self.assertNotIn("patient/*.rs", answer["scope"])
        self.assertEqual(self.register(new_key(), answer["access_token"]).status, 201)
        (client,) = self.control("clients")
        self.assertAlmostEqual(client["ends_at"] - client["issued_at"], 3600, delta=1)

    def test_an_error_page_is_told_on_stderr(self):
        run = self.run_login(self.authorization_url(client_id="nobody"))
        self.assertEqual((run.returncode, run.stdout), (1, ""))
        self.assertIn("not known here", run.stderr)


class Process(unittest.TestCase):
    def test_ready_file_names_process_and_addresses(self):
        with Sandbox() as ehr:
            self.assertEqual(ehr.pid, ehr.process.pid)
            self.assertTrue(ehr.fhir_base.startswith("http://127.0.0.1:"))
            self.assertTrue(ehr.control.startswith("http://127.0.0.1:"))
            self.assertEqual(http_request(f"{ehr.control}/clients").json(), [])

    def test_two_sandboxes_know_nothing_of_each_other(self):
        with Sandbox() as one, Sandbox() as two:
            self.assertNotEqual(one.fhir_base, two.fhir_base)
            token = http_request(f"{one.control}/initial_token", json_body={}).json()[
                "access_token"
            ]
            headers = {"Authorization": f"Bearer {token}"}
            self.assertEqual(
                http_request(f"{one.fhir_base}/Patient/pat-1", headers=headers).status, 200
            )
            self.assertEqual(
                http_request(f"{two.fhir_base}/Patient/pat-1", headers=headers).status, 401
            )

    def test_sigterm_ends_it_without_an_error(self):
        with Sandbox() as ehr:
            ehr.process.send_signal(signal.SIGTERM)
            self.assertEqual(ehr.process.wait(timeout=30), 0)

    def test_it_ends_with_whoever_holds_its_standard_input(self):
        with Sandbox() as ehr:
            ehr.process.stdin.close()
            self.assertEqual(ehr.process.wait(timeout=30), 0)

    def test_configuration_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            app = {
                "client_id": "a",
                "software_id": "b",
                "name": "A",
                "redirect_uris": ["http://localhost:8965/cb"],
            }
            user = {
                "name": "eve",
                "password": "p",
                "fhir_user": "Patient/pat-1",
                "patients": ["pat-1"],
            }
            json.dump(
                {"apps": [app], "users": [user], "access_token_ttl": 7, "algorithms": ["RS256"]},
                file,
            )
            file.flush()
            with Sandbox("--config", file.name) as ehr:
                answer = http_request(
                    f"{ehr.control}/initial_token", json_body={"client_id": "a", "user": "eve"}
                )
                self.assertEqual((answer.status, answer.json()["patient"]), (200, "pat-1"))
                document = http_request(f"{ehr.fhir_base}/.well-known/smart-configuration").json()
                self.assertEqual(
                    document["token_endpoint_auth_signing_alg_values_supported"], ["RS256"]
                )

    def test_bad_configuration_is_named_and_nothing_started(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            file.write('{"app": []}')
            file.flush()
            command = [sys.executable, os.path.join(HERE, "sandbox.py"), "--config", file.name]
            run = subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("unknown member 'app'", run.stderr)


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory(prefix="smartkey-ehr-tls-")
        cls.addClassCleanup(directory.cleanup)
        cls.cert = os.path.join(directory.name, "cert.pem")
        key = os.path.join(directory.name, "key.pem")
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]
        command += [
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost,IP:127.0.0.1",
        ]
        subprocess.run(
            [*command, "-out", cls.cert, "-keyout", key], check=True, capture_output=True
        )
        cls.ehr = Sandbox("--tls-cert", cls.cert, "--tls-key", key, name="localhost")
        cls.addClassCleanup(cls.ehr.stop)

    def test_serves_https_to_who_trusts_its_certificate(self):
        self.assertTrue(self.ehr.fhir_base.startswith("https://localhost:"))
        status, _, body = login.Browser(self.cert).open(
            self.ehr.fhir_base + "/.well-known/smart-configuration"
        )
        self.assertEqual(status, 200)
        self.assertEqual(json.loads(body)["token_endpoint"], self.ehr.token_endpoint)

    def test_is_not_trusted_without_the_certificate(self):
        with self.assertRaisesRegex(login.LoginFailed, "(?i)certificate"):
            login.Browser().open(self.ehr.fhir_base + "/metadata")

    def test_a_connection_that_says_nothing_holds_nobody_up(self):
        port = urlsplit(self.ehr.fhir_base).port
        with socket.create_connection(("127.0.0.1", port)):
            status, _, _ = login.Browser(self.cert).open(
                self.ehr.fhir_base + "/.well-known/smart-configuration"
            )
            self.assertEqual(status, 200)


if __name__ == "__main__":
    unittest.main()
