# SPDX-License-Identifier: Apache-2.0
"""The three documents that say where everything is, and their switches."""

import unittest
from urllib.parse import urljoin

from support import JWT_BEARER, SandboxTest, http

OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
ENDPOINTS = (
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
)


class Discovery(SandboxTest):
    def smart(self):
        return http(f"{self.ehr.fhir_base}/.well-known/smart-configuration")

    def metadata(self, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return http(
            f"{self.ehr.fhir_base}/metadata", headers={"Accept": "application/fhir+json", **headers}
        )

    def rfc8414(self):
        return http(
            self.ehr.issuer.replace("/fhir", "/.well-known/oauth-authorization-server/fhir")
        )

    def oauth_uris(self, statement):
        (server,) = [rest for rest in statement["rest"] if rest["mode"] == "server"]
        (uris,) = [e for e in server["security"]["extension"] if e["url"] == OAUTH_URIS]
        return {entry["url"]: entry["valueUri"] for entry in uris["extension"]}

    def test_smart_configuration_has_what_smart_requires(self):
        body = self.smart().json()
        for name in ENDPOINTS:
            self.assertEqual(body[name], getattr(self.ehr, name))
        self.assertEqual(body["grant_types_supported"], ["authorization_code"])
        self.assertEqual(body["code_challenge_methods_supported"], ["S256"])
        self.assertIn("client-public", body["capabilities"])
        self.assertIn("system/DynamicClient.register", body["scopes_supported"])

    def test_metadata_tells_register_only_to_a_known_epic_client_id(self):
        self.assertNotIn("register", self.oauth_uris(self.metadata().json()))
        self.assertNotIn("register", self.oauth_uris(self.metadata(Epic_Client_ID="nobody").json()))
        uris = self.oauth_uris(self.metadata(Epic_Client_ID="growth-chart").json())
        self.assertEqual(uris["register"], self.ehr.registration_endpoint)
        self.assertEqual(uris["token"], self.ehr.token_endpoint)
        self.assertEqual(self.log("/fhir/metadata")[-1]["epic_client_id"], "growth-chart")

    def test_what_a_client_looks_for_in_metadata_is_not_first(self):
        rest = self.metadata().json()["rest"]
        self.assertNotEqual(rest[0]["mode"], "server")
        self.assertNotEqual(rest[1]["security"]["extension"][0]["url"], OAUTH_URIS)

    def test_metadata_is_xml_unless_json_is_asked_for(self):
        answer = self.metadata(Accept="*/*")
        self.assertIn("application/fhir+xml", answer.headers["Content-Type"])
        self.assertIn(
            "application/fhir+json",
            self.metadata(Accept="application/json").headers["Content-Type"],
        )

    def test_rfc8414_document_has_the_issuer_it_was_asked_for(self):
        body = self.rfc8414().json()
        self.assertEqual(body["issuer"], self.ehr.issuer)
        self.assertIn(JWT_BEARER, body["grant_types_supported"])

    def test_discovery_switches(self):
        self.switch(discovery="no_registration_endpoint")
        self.assertNotIn("registration_endpoint", self.smart().json())
        self.switch(discovery="html")
        self.assertIn("text/html", self.smart().headers["Content-Type"])
        self.switch(discovery="not_found")
        self.assertEqual(self.smart().status, 404)
        self.switch(discovery="plain_only")
        self.assertEqual(self.smart().json()["code_challenge_methods_supported"], ["plain"])
        self.switch(discovery="relative")
        relative = self.smart().json()
        for name in ENDPOINTS:
            self.assertNotIn("://", relative[name])
            self.assertEqual(
                urljoin(self.ehr.fhir_base + "/", relative[name]), getattr(self.ehr, name)
            )
        self.switch(discovery=None)
        self.assertEqual(self.smart().json()["token_endpoint"], self.ehr.token_endpoint)

    def test_switches_that_every_document_has(self):
        for switch, ask in (
            ("discovery", self.smart),
            ("metadata", self.metadata),
            ("rfc8414", self.rfc8414),
        ):
            with self.subTest(switch):
                self.switch(**{switch: {"value": "override", "set": {"a": 1}, "raw": {"b": "1e5"}}})
                self.assertEqual((ask().json()["a"], ask().json()["b"]), (1, 1e5))
                self.switch(**{switch: {"value": "raw", "status": 503, "body": "x"}})
                self.assertEqual((ask().status, ask().body), (503, "x"))
                self.switch(**{switch: {"value": "huge", "bytes": 300_000}})
                self.assertGreater(len(ask().body), 300_000)
                self.switch(**{switch: "malformed"})
                self.assertRaises(ValueError, ask().json)
                self.switch(**{switch: {"value": "redirect", "location": "/elsewhere"}})
                self.assertEqual(ask().status, 307)

    def test_oauth_uris_can_be_others(self):
        self.switch(metadata={"value": "oauth_uris", "set": {"register": "http://x/"}})
        self.assertEqual(self.oauth_uris(self.metadata().json())["register"], "http://x/")

    def test_metadata_switches(self):
        self.switch(metadata="html")
        self.assertIn("text/html", self.metadata().headers["Content-Type"])
        self.switch(metadata="xml")
        self.assertIn("xml", self.metadata().headers["Content-Type"])
        self.switch(metadata="not_found")
        self.assertEqual(self.metadata().status, 404)

    def test_rfc8414_switches(self):
        self.switch(rfc8414="wrong_issuer")
        self.assertNotEqual(self.rfc8414().json()["issuer"], self.ehr.issuer)
        self.switch(rfc8414="not_found")
        self.assertEqual(self.rfc8414().status, 404)

    def test_supported_algorithms_are_published(self):
        self.switch(supported_algs=["RS256"])
        for document in (self.smart(), self.rfc8414()):
            self.assertEqual(
                document.json()["token_endpoint_auth_signing_alg_values_supported"], ["RS256"]
            )


if __name__ == "__main__":
    unittest.main()
