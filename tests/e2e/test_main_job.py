# SPDX-License-Identifier: Apache-2.0
"""The main job as apps and people see it: enroll, token, share the cache, survive."""

import base64
import json
import os
import signal
import subprocess
import threading
import unittest

from stack import ALICE, BOB, SERVER, wait_for
from story import StackTest


class MainJob(StackTest):
    def test_EnrollingGivesAWorkingRegistrationAndOneTokenForAll(self):
        self.enrolled()
        self.assertEqual(len(self.stack.requests("/register")), 1)
        tokens = []
        threads = [threading.Thread(target=lambda: tokens.append(self.token())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(set(tokens)), 1)
        self.assertEqual(len(tokens), 8)
        self.assertEqual(len(self.stack.token_requests()), 1)
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", tokens[0])["id"], "pat-1")

    def test_WhatTheServerSawIsWhatTheProtocolAsksFor(self):
        self.enrolled()
        register = self.stack.requests("/register")[0]
        self.assertEqual(sorted(register["members"]), ["jwks", "software_id"])
        self.assertEqual(register["kid"], register["thumbprint"])
        exchange, grant = self.stack.requests("/token")
        self.assertEqual(exchange["grant_type"], "authorization_code")
        for request in (exchange, grant):
            self.assertFalse(request["has_authorization"])
            self.assertFalse(request["has_cookie"])
            self.assertEqual(request["content_type"].split(";")[0], "application/x-www-form-urlencoded")
        header, claims = grant["assertion_header"], grant["assertion_claims"]
        self.assertEqual(sorted(header), ["alg", "kid", "typ"])
        self.assertEqual(header["typ"], "JWT")
        self.assertEqual(claims["iss"], claims["sub"])
        self.assertEqual(claims["aud"], self.stack.ready["token_endpoint"])
        self.assertLess(claims["exp"] - claims["iat"], 300)
        self.assertEqual(sorted(claims), ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"])

    def test_TheKeyIsTheTpmsOwnAndCannotLeaveIt(self):
        registration = self.enrolled()
        shown = self.stack.ctl(ALICE, "--json", "show", registration["id"]).json()
        key = shown["registration"]["generation"]["key"]
        path = os.path.join(self.stack.dir, "key.pub")
        with open(path, "wb") as file:
            file.write(base64.b64decode(key["tpm_public"]))
        printed = subprocess.run(["tpm2_print", "-t", "TPM2B_PUBLIC", path], check=True,
                                 capture_output=True, text=True).stdout
        words = next(line for line in printed.splitlines() if "fixedtpm" in line).split(":")[1].strip().split("|")
        for attribute in ("fixedtpm", "fixedparent", "sensitivedataorigin", "sign", "noda"):
            self.assertIn(attribute, words)
        self.assertNotIn("decrypt", words)
        self.assertNotIn("restricted", words)

    def test_AnotherUserIsToldTheSameAsOfARegistrationThatDoesNotExist(self):
        registration = self.enrolled()
        unknown = self.stack.ctl(BOB, "token", "no-such-thing")
        for command in ("token", "show", "assertion", "jwks"):
            for name in (SERVER, registration["id"]):
                refused = self.stack.ctl(BOB, command, name)
                self.assertEqual((refused.code, refused.out, refused.err), (unknown.code, "", unknown.err),
                                 str(refused))
        self.assertEqual(self.registrations(BOB), [])
        deleted = self.stack.ctl(BOB, "delete", registration["id"], "--yes")
        self.assertNotEqual(deleted.code, 0)
        self.assertEqual(len(self.registrations()), 1)

    def test_AnExpiredTokenIsReplacedWithNobodyInvolved(self):
        self.stack.switches(access_token_ttl=3)
        self.enrolled()
        first = self.token()
        second = wait_for(lambda: next((t for t in [self.token()] if t != first), None), "a new token")
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", second)["id"], "pat-1")
        jtis = [request["jti"] for request in self.stack.token_requests()]
        self.assertEqual(len(jtis), len(set(jtis)))

    def test_AfterSigkillItServesWithoutEnrollingAnew(self):
        self.enrolled()
        self.stack.kill_daemon()
        self.stack.start_daemon()
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")
        self.assertEqual(len(self.stack.requests("/register")), 1)

    def test_AfterAPowerCycleOfTheTpmItServesWithTheSameKey(self):
        self.enrolled()
        self.stack.stop("smartkeyd")
        self.stack.hardware.reboot()
        self.stack.start_daemon()
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")

    def test_ATpmThatRebootsUnderARunningDaemonIsOpenedAnew(self):
        self.enrolled()
        self.stack.hardware.reboot()
        wait_for(lambda: self.stack.ctl(ALICE, "assertion", SERVER).code == 0, "the key to be usable again")

    def test_ACachedTokenNeedsNeitherTpmNorServer(self):
        self.enrolled()
        token = self.token()
        self.stack.hardware.stop()
        port = self.stack.ready["fhir_base"].split(":")[2].split("/")[0]
        self.stack.stop("ehr")
        try:
            self.assertEqual(self.token(), token)
        finally:
            self.stack.hardware.start()
            self.stack.start_ehr(port=int(port))

    def test_DeletingDestroysTheKeyAndLeavesNothingOfItInAnyFile(self):
        registration = self.enrolled("--label", "Daughter's chart")
        shown = self.stack.ctl(ALICE, "--json", "show", registration["id"]).json()
        thumbprint = shown["registration"]["generation"]["key"]["thumbprint"].encode()
        self.assertIn(thumbprint, self.state_bytes())
        result = self.stack.ctl(ALICE, "delete", registration["id"], "--yes")
        self.assertEqual(result.code, 0, str(result))
        for trace in (thumbprint, b"Daughter's chart"):
            self.assertNotIn(trace, self.state_bytes())
        self.assertNotIn(registration["id"].encode(), self.state_bytes(audit=False))
        self.assertEqual(self.registrations(), [])
        self.assert_refused(self.stack.ctl(ALICE, "token", registration["id"]), 1, "registration")

    def test_AnAdministratorSeesAndDeletesAllAndIsGivenNoToken(self):
        registration = self.enrolled()
        listed = self.stack.ctl("root", "--json", "list").json()["registrations"]
        self.assertEqual([r["id"] for r in listed], [registration["id"]])
        self.assertNotIn("pat-1", json.dumps(listed))
        status = self.stack.ctl("root", "--json", "status")
        self.assertEqual(status.code, 0, str(status))
        self.assertNotEqual(self.stack.ctl("root", "token", registration["id"]).code, 0)
        self.assertNotEqual(self.stack.ctl("root", "--public", "token", registration["id"]).code, 0)
        self.assertEqual(self.stack.ctl("root", "delete", f"{ALICE}/{SERVER}", "--yes").code, 0)
        self.assertEqual(self.registrations(), [])

    def test_TheAdminSocketIsClosedToEverybodyElse(self):
        refused = self.stack.spawn(
            BOB, [os.path.join(self.stack.bin, "smartkeyctl"), "--socket", self.stack.admin_socket, "status"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        out, err = refused.communicate(timeout=60)
        self.assertEqual(out, "")
        self.assertIn(refused.returncode, (3, 6), err)

    def test_EnrollWithAnInitialTokenFromElsewhere(self):
        answer = self.stack.initial_token()
        self.secrets.add(answer["access_token"])
        result = self.stack.ctl(ALICE, "enroll", SERVER, "--with-token-file", "-", stdin=answer["access_token"])
        self.assertEqual(result.code, 0, f"{result}\n{self.stack.read_log()}")
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")
        again = self.stack.ctl(ALICE, "enroll", SERVER, "--with-token-file", "-", stdin=answer["access_token"])
        self.assert_refused(again, 4, "initial")
        self.assertEqual(len(self.registrations()), 1)

    def test_TwoEnrollmentsHaveTwoKeysAndTwoNames(self):
        self.enrolled()
        self.assertEqual(self.stack.enroll(ALICE, patient="pat-2").code, 0)
        registrations = self.registrations()
        self.assertEqual(sorted(r["name"] for r in registrations), [SERVER, f"{SERVER}-2"])
        kids = [request["kid"] for request in self.stack.requests("/register")]
        self.assertEqual(len(set(kids)), 2)
        second = self.token(f"{SERVER}-2")
        self.assertNotEqual(self.token(), second)
        self.assertEqual(self.stack.fhir_get("Patient/pat-2", second)["id"], "pat-2")

    def test_RenewingKeepsIdAndNameAndRetiresTheOldKey(self):
        before = self.enrolled("--name", "mum", "--label", "Mum's chart")
        old = self.token("mum")
        renewed = self.stack.enroll(ALICE, command="renew", server="mum")
        self.assertEqual(renewed.code, 0, f"{renewed}\n{self.stack.read_log()}")
        after = self.registrations()
        self.assertEqual([(r["id"], r["name"], r["label"], r["state"]) for r in after],
                         [(before["id"], "mum", "Mum's chart", "ACTIVE")])
        self.assertEqual(after[0]["generation"]["number"], before["generation"]["number"] + 1)
        kids = [request["kid"] for request in self.stack.requests("/register")]
        self.assertEqual(len(set(kids)), 2)
        self.assertNotEqual(self.token("mum"), old)
        # Its key is destroyed after the answer, and its record goes with it.
        wait_for(lambda: kids[0].encode() not in self.state_bytes(), "the old generation to be gone")

    def test_ARenewalForAnotherPatientIsDroppedAndTheOldOneServesOn(self):
        self.enrolled()
        renewed = self.stack.enroll(ALICE, command="renew", patient="pat-2")
        self.assertEqual(renewed.code, 4, str(renewed))
        self.assertEqual(self.stack.fhir_get("Patient/pat-1", self.token())["id"], "pat-1")
        self.assertEqual(len(self.registrations()), 1)

    def test_TheAssertionIsGoodAtTheTokenEndpointOnce(self):
        self.enrolled()
        result = self.stack.ctl(ALICE, "assertion", SERVER)
        self.assertEqual(result.code, 0, str(result))
        header, claims, _ = result.out.strip().split(".")
        decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
        self.assertEqual(decoded["aud"], self.stack.ready["token_endpoint"])
        self.assertLessEqual(decoded["exp"] - decoded["iat"], 120)
        jwks = json.loads(self.stack.ctl(ALICE, "jwks", SERVER).out)
        kid = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
        self.assertIn(kid, [key["kid"] for key in jwks["keys"]])
        self.assertNotIn("d", jwks["keys"][0])

    def test_StoppingIsCleanAndQuick(self):
        self.enrolled()
        self.assertEqual(self.stack.stop("smartkeyd", signal.SIGTERM), 0)
        self.stack.start_daemon()
        self.token()


if __name__ == "__main__":
    unittest.main()
