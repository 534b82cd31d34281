# SPDX-License-Identifier: Apache-2.0
"""The bearer check of the FHIR server: token, scope and patient compartment."""

import unittest

from support import SandboxTest


class FhirServer(SandboxTest):
    def setUp(self):
        super().setUp()
        self.client_id, self.key = self.new_client()

    def access_token(self, scope=None):
        answer = self.mint(self.client_id, self.key, scope=scope)
        self.assertEqual(answer.status, 200, answer)
        return answer.json()["access_token"]

    def test_patient_and_observations_of_the_token_can_be_read(self):
        token = self.access_token()
        patient = self.fhir("Patient/pat-1", token)
        self.assertEqual((patient.status, patient.json()["resourceType"]), (200, "Patient"))
        self.assertIn("application/fhir+json", patient.headers["Content-Type"])
        bundle = self.fhir("Observation?patient=pat-1", token).json()
        self.assertEqual(bundle["total"], 2)
        for entry in bundle["entry"]:
            self.assertEqual(entry["resource"]["subject"]["reference"], "Patient/pat-1")
        self.assertEqual(self.fhir("Observation?subject=Patient/pat-1", token).json()["total"], 2)
        self.assertEqual(self.fhir("Observation", token).json()["total"], 2)
        self.assertEqual(self.fhir("Observation/obs-1", token).status, 200)
        self.assertEqual(self.fhir("Patient?_id=pat-1", token).json()["total"], 1)

    def test_no_token_is_told_the_scheme_without_an_error(self):
        answer = self.fhir("Patient/pat-1")
        self.assertEqual(answer.status, 401)
        self.assertEqual(answer.headers["WWW-Authenticate"], 'Bearer realm="sandbox"')
        self.assertEqual(answer.json()["resourceType"], "OperationOutcome")

    def test_unknown_token_is_refused(self):
        answer = self.fhir("Patient/pat-1", "unknown")
        self.assertEqual(answer.status, 401)
        self.assertIn('error="invalid_token"', answer.headers["WWW-Authenticate"])

    def test_expired_token_is_refused(self):
        self.switch(access_token_ttl=60)
        token = self.access_token()
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 200)
        self.switch(clock_offset=61)
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 401)

    def test_another_patient_is_out_of_reach(self):
        token = self.access_token()
        for path in (
            "Patient/pat-2",
            "Patient?_id=pat-2",
            "Observation?patient=pat-2",
            "Observation?subject=Patient/pat-2",
            "Observation?patient=Patient/pat-2",
            "Observation/obs-3",
        ):
            self.assertEqual(self.fhir(path, token).status, 403, path)

    def test_scope_is_enforced(self):
        token = self.access_token("patient/Patient.r")
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 200)
        self.assertEqual(self.fhir("Patient?_id=pat-1", token).status, 403)
        answer = self.fhir("Observation?patient=pat-1", token)
        self.assertEqual(answer.status, 403)
        self.assertIn('error="insufficient_scope"', answer.headers["WWW-Authenticate"])
        token = self.access_token("patient/Observation.rs")
        self.assertEqual(self.fhir("Observation?patient=pat-1", token).status, 200)
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 403)

    def test_ended_tokens_are_refused_while_the_client_stays_good(self):
        token = self.access_token()
        self.assertGreaterEqual(
            self.control("revoke_tokens", {"client_id": self.client_id})["revoked"], 1
        )
        self.assertEqual(self.fhir("Patient/pat-1", token).status, 401)
        self.assertEqual(self.fhir("Patient/pat-1", self.access_token()).status, 200)

    def test_what_is_not_there_is_not_found(self):
        token = self.access_token()
        self.assertEqual(self.fhir("Observation/none", token).status, 404)
        self.assertEqual(self.fhir("Device", token).status, 404)


if __name__ == "__main__":
    unittest.main()
