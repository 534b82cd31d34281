# SPDX-License-Identifier: Apache-2.0
"""Items 38 to 41 of the protocol's checklist: answers of the token endpoint that are odd, and what of them gets out."""

import base64
import json
import re
import unittest

from conformance import ALICE, SERVER, ConformanceTest
from hardware import Token
from stack import Stack

OTHER_SCOPE = ("--scope", "patient/*.rs")
GOOD = {"access_token": "a-token-of-the-sandbox", "token_type": "Bearer", "expires_in": 3600, "scope": "patient/*.rs",
        "patient": "pat-1"}
MEMORY_OF_ALL = 128  # MB that smartkeyd has used at most, ever


class TokenAnswer(ConformanceTest):
    """Each odd answer is for a scope set of its own kind: a good token of the registration is in the cache beside."""

    @classmethod
    def make_stack(cls):
        return Stack(hardware=Token)

    def setUp(self):
        super().setUp()
        self.forget_what_was_held_back()
        self.assert_enrolled_with_token()
        self.good = self.token()

    def answer(self, **answer):
        """What the next token request is answered with, and what smartkeyctl makes of it."""
        self.forget_what_was_held_back()
        self.token()
        self.stack.switches(token_answer=answer)
        result = self.stack.ctl(ALICE, "--json", "token", SERVER, *OTHER_SCOPE)
        self.stack.switches(token_answer=None)
        return result

    def assert_refused_answer(self, result, reason, *words):
        """A reason that names the server, no token, nothing cached, nothing blamed on the registration."""
        error = self.assert_error(result, reason, r"127\.0\.0\.1", *words)
        self.assertEqual(error["exit_code"], 5)
        self.assertNotIn("access_token\":", result.out)
        self.assertEqual(self.stack.ctl("root", "--json", "status").json()["cache"]["entries"], 1)
        self.assertEqual(self.registrations()[0]["state"], "ACTIVE")

    # 38

    def test_item_38_BearerInAnyCaseIsTakenAndNoOtherType(self):
        for token_type in ("Bearer", "BEARER", "bearer"):
            with self.subTest(token_type):
                taken = self.answer(value="override", set={"token_type": token_type})
                self.assertEqual((taken.code, taken.json()["token_type"]), (0, "Bearer"), str(taken))
        for token_type in ("mac", "DPoP", "", None, 5):
            with self.subTest(token_type):
                self.assert_refused_answer(self.answer(value="override", set={"token_type": token_type}),
                                           "BAD_SERVER_ANSWER", "token_type")
        self.assert_refused_answer(self.answer(value="no_token_type"), "BAD_SERVER_ANSWER", "token_type")

    # 39

    def test_item_39_AnAccessTokenThatIsUnfitForAHeaderIsHandedToNobody(self):
        for value in ("", 5, None, ["a"], "a\r\nX-Evil: 1", "a b", "caf\u00e9", "tab\there", "x" * 40_000):
            with self.subTest(str(value)[:20]):
                refused = self.answer(value="override", set={"access_token": value})
                self.assert_refused_answer(refused, "BAD_SERVER_ANSWER", "access_token")
                self.assertNotIn("X-Evil", refused.out + refused.err)
        self.assert_refused_answer(self.answer(value="override", remove=["access_token"]), "BAD_SERVER_ANSWER",
                                   "access_token")
        # Over the limit of an answer as a whole.
        self.assert_refused_answer(self.answer(value="override", set={"access_token": "x" * 100_000}),
                                   "BAD_SERVER_ANSWER", "larger|large|64|bytes|long")

    def test_item_39_AnAccessTokenOfSixteenKilobytesIsAToken(self):
        taken = self.answer(value="override", set={"access_token": "x" * 16_384})
        self.assertEqual((taken.code, len(taken.json()["access_token"])), (0, 16_384), taken.err)

    # 40

    def test_item_40_RefreshAndIdTokensAreNeitherShownNorKept(self):
        payload = base64.urlsafe_b64encode(json.dumps({"sub": "x"}).encode()).decode().rstrip("=")
        secrets = {"refresh_token": "refresh-token-canary", "id_token": f"eyJhbGciOiJub25lIn0.{payload}.canary",
                   "client_secret": "client-secret-canary"}
        taken = self.answer(value="override", set={**secrets, "encounter": "enc-7"})
        self.assertEqual(taken.code, 0, str(taken))
        self.assertEqual(taken.json()["launch_context"]["encounter"], "enc-7")
        said = taken.out + taken.err + self.stack.read_log() + self.stack.ctl(ALICE, "--json", "show", SERVER).out
        for secret in secrets.values():
            self.assertNotIn(secret, said)
            self.assertNotIn(secret.encode(), self.state_bytes())

    # 41

    def test_item_41_WhatIsNoCleanJsonIsRefused(self):
        text = json.dumps(GOOD)
        deep = '{"x": ' + "[" * 200 + "]" * 200 + ", " + text[1:]
        bodies = {"malformed": text[:-1] + ",", "cut off": text[:40], "trailing garbage": text + " x",
                  "two values": text + text, "a list": f"[{text}]", "a string": '"token"', "empty": "",
                  "doubled member": text[:-1] + ', "access_token": "another"}',
                  "byte order mark": "\ufeff" + text, "deep": deep, "not a number": text.replace("3600", "NaN"),
                  "a comment": text + " // c"}
        for name, body in bodies.items():
            with self.subTest(name):
                encoded = base64.b64encode(body.encode()).decode()
                self.assert_refused_answer(self.answer(value="raw", base64=encoded), "BAD_SERVER_ANSWER")
        for name, octets in {"invalid UTF-8": text.encode().replace(b"sandbox", b"s\xff\xfex"),
                             "overlong UTF-8": text.encode().replace(b"sandbox", b"\xc0\xaf"),
                             "UTF-16": text.encode("utf-16")}.items():
            with self.subTest(name):
                encoded = base64.b64encode(octets).decode()
                self.assert_refused_answer(self.answer(value="raw", base64=encoded), "BAD_SERVER_ANSWER")

    def test_item_41_AnotherTypeOrAnErrorInA200IsNoToken(self):
        text = json.dumps(GOOD)
        for content_type, reason in (("text/plain", "BAD_SERVER_ANSWER"), ("text/html", "INTERCEPTED"),
                                     ("application/xml", "BAD_SERVER_ANSWER"), ("", "BAD_SERVER_ANSWER")):
            with self.subTest(content_type):
                self.assert_refused_answer(self.answer(value="raw", body=text, content_type=content_type), reason)
        error = json.dumps({**GOOD, "error": "temporarily_unavailable"})
        self.assert_refused_answer(self.answer(value="raw", body=error), "SERVER_BUSY")

    def test_item_41_SixteenMegabytesArriveInBoundedMemory(self):
        for kind in ({"value": "huge", "bytes": 16_000_000},
                     {"value": "raw", "body": "[" * 16_000_000},
                     {"value": "raw", "body": json.dumps({"error": "e" * 16_000_000}), "status": 400}):
            with self.subTest(str(kind)[:40]):
                refused = self.answer(**kind)
                self.assertEqual(refused.code, 5, refused.err)
                self.assertEqual(self.token(), self.token())
                with open(f"/proc/{self.stack.daemon_pid()}/status", encoding="ascii") as file:
                    most = int(re.search(r"VmHWM:\s+(\d+) kB", file.read()).group(1)) / 1024
                if not self.stack.sanitized():
                    self.assertLess(most, MEMORY_OF_ALL)


if __name__ == "__main__":
    unittest.main()
