#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The version stands in CMakeLists.txt; debian/changelog must agree.

Usage: version_lint.py [ROOT]    prints what differs, exits 1 if anything does
"""

import pathlib
import re
import sys


def check(root):
    root = pathlib.Path(root)
    built = re.search(r"^project\(smartkeyd VERSION (\S+)", (root / "CMakeLists.txt").read_text(encoding="utf-8"),
                      re.MULTILINE).group(1)
    packaged = re.match(r"smartkeyd \(([^)]+)\)", (root / "debian/changelog").read_text(encoding="utf-8")).group(1)
    if packaged == built or packaged.startswith(built + "+"):
        return []
    return [f"debian/changelog:1: {packaged}, but CMakeLists.txt says {built}"]


def main():
    problems = check(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    print("\n".join(problems) if problems else "version_lint: one version")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
