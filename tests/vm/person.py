#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Inside the machine: smartkeyctl with the person's part, the hospital's pages, done by login.py beside this file.

    person.py enroll|renew SERVER
"""

import os
import re
import subprocess
import sys

LOGIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "login.py")

ctl = subprocess.Popen(["smartkeyctl", *sys.argv[1:], "--no-browser"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True, bufsize=1)
for line in ctl.stdout:
    print(line, end="", flush=True)
    found = re.search(r"https?://\S+[?&]code_challenge=\S*", line)
    if found:
        login = [sys.executable, LOGIN, found.group(), "--user", "alice", "--patient", "pat-1", "--follow"]
        if subprocess.run(login, check=False).returncode != 0:
            ctl.terminate()
sys.exit(ctl.wait())
