# SPDX-License-Identifier: Apache-2.0
"""Another hospital's server beside that of a Stack, with clients and tokens of its own."""

import json
import os
import subprocess
import urllib.request

from stack import EHR, wait_for


class SecondEhr:
    def __init__(self, stack):
        ready = os.path.join(stack.ehr_dir, "second.json")
        if os.path.exists(ready):
            os.unlink(ready)
        self._process = stack.spawn(
            EHR, ["/usr/bin/python3", "-B", os.path.join(stack.ehr_code, "sandbox.py"), "--port", "0",
                  "--ready-file", ready, "--until-stdin-closes"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: os.path.exists(ready), "the second sandbox EHR")
        with open(ready, encoding="utf-8") as file:
            self.ready = json.load(file)

    def close(self):
        self._process.stdin.close()
        self._process.wait()

    def control(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(f"{self.ready['control']}/{path}", data=data, timeout=60) as answer:
            return json.load(answer)

    def initial_token(self):
        return self.control("initial_token", {})["access_token"]

    def tokens(self):
        return self.control("tokens")
