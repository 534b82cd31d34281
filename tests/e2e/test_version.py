# SPDX-License-Identifier: Apache-2.0
"""What smartkeyd says it is, which whoever reports a mistake is asked for."""

import os
import re
import subprocess
import unittest

from stack import ROOT

# {as smartkeyd calls it: as pkg-config does}
LIBRARIES = {"gRPC ": "grpc++_unsecure", "SQLite ": "sqlite3", "libcurl/": "libcurl", "tpm2-tss ": "tss2-esys",
             "p11-kit ": "p11-kit-1"}


def output_of(*args):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, text=True).stdout


class Version(unittest.TestCase):
    def test_OfTheDaemon_NamesItsVersionItsRevisionAndItsLibraries(self):
        binaries = os.environ.get("SMARTKEY_BINARIES", os.path.join(ROOT, "build/release"))
        said = output_of(os.path.join(binaries, "daemon/app/smartkeyd"), "--version")
        with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as file:
            version = re.search(r"project\(smartkeyd VERSION (\S+)", file.read()).group(1)
        # Out of a tarball, or out of a checkout that belongs to somebody else, there is none to be known.
        known = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], check=False, capture_output=True).returncode == 0
        revision = r"[0-9a-f]{7,}(-dirty)?" if known else r"[0-9a-f]{7,}(-dirty)?|no revision known"
        self.assertRegex(said.splitlines()[0], rf"^smartkeyd {re.escape(version)} \(({revision})\)$")
        for name, package in LIBRARIES.items():
            installed = output_of("pkg-config", "--modversion", package).strip()
            self.assertRegex(said, rf"(?m)(^|[ ,]){re.escape(name + installed)}([ ,]|$)")
        self.assertRegex(said, r"libcurl/\S+ OpenSSL/\d+\.\d+\.\d+")


if __name__ == "__main__":
    unittest.main()
