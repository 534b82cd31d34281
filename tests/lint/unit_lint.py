#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads the units in systemd/ against its README.md.

Usage: unit_lint.py [ROOT]       prints one line for each violation, exits 1 if there is any

- what must stay off is off: with it callers could not be told apart, or hospitals not be reached;
- every directive is explained, and nothing is that is neither in the unit nor left out on purpose;
- `systemd-analyze security` finds at most MOST_EXPOSURE.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

MUST_BE_OFF = ("PrivateUsers", "ProtectProc", "ProcSubset", "PrivateNetwork", "PrivateDevices", "DynamicUser")
MOST_EXPOSURE = 1.5

DIRECTIVE = re.compile(r"^([A-Z]\w+)=", re.MULTILINE)
NAMED = re.compile(r"`~?([A-Z]\w+)(\*?)[=`]")
ROW = re.compile(r"^\| (.*?) \|", re.MULTILINE)
# For people and for `systemctl enable`.
PLAIN = {"Description", "Documentation", "ExecStart", "WantedBy"}
MAIN = "smartkeyd.service"


def exposure_problems(unit):
    """What systemd-analyze says, which needs no systemd that runs."""
    if shutil.which("systemd-analyze") is None:
        return [f"{unit.name}: there is no systemd-analyze that could be asked (scripts/install-deps)"]
    with tempfile.TemporaryDirectory() as directory:
        made = pathlib.Path(directory) / unit.name
        made.write_text(re.sub(r"@\w+@", "/usr/sbin", unit.read_text(encoding="utf-8")), encoding="utf-8")
        done = subprocess.run(["systemd-analyze", "security", "--no-pager", "--offline=true", made], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    found = re.search(r"exposure level for \S+ (\d+\.\d+)", done.stdout)
    if found is None:
        return [f"{unit.name}: systemd-analyze security tells no exposure: {done.stdout.strip()[-200:]}"]
    if float(found.group(1)) > MOST_EXPOSURE:
        return [f"{unit.name}: systemd-analyze security says {found.group(1)}, more than {MOST_EXPOSURE}"]
    return []


def check(root):
    """All violations, as text."""
    folder = pathlib.Path(root) / "systemd"
    readme = (folder / "README.md").read_text(encoding="utf-8")
    problems = []
    for unit in sorted([*folder.glob("*.service"), *folder.glob("*.socket")]):
        directives = set(DIRECTIVE.findall(unit.read_text(encoding="utf-8")))
        section = readme.partition(f"\n## {unit.name}\n")[2].partition("\n## ")[0]
        explained, _, left_out = section.partition("Left out on purpose")
        known = [re.compile(re.escape(name) + (r"\w*" if star else "")) for name, star in NAMED.findall(explained)]
        problems += [f"{unit.name}: {name}= is not explained in systemd/README.md"
                     for name in sorted(directives - PLAIN) if not any(pattern.fullmatch(name) for pattern in known)]
        problems += [f"{unit.name}: {name}{star}= is explained in systemd/README.md, and not there"
                     for cell in ROW.findall(explained) for name, star in NAMED.findall(cell)
                     if not any(re.fullmatch(name + (r"\w*" if star else ""), one) for one in directives)]
        problems += [f"{unit.name}: {name}= is there, and in systemd/README.md left out on purpose"
                     for cell in ROW.findall(left_out) for name, _ in NAMED.findall(cell) if name in directives]
        if unit.name == MAIN:
            problems += [f"{unit.name}: {name}= must stay off" for name in MUST_BE_OFF if name in directives]
            problems += exposure_problems(unit)
    return problems


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]
    problems = check(root)
    print("\n".join(problems) if problems else "unit_lint: the units are explained, and closed as far as they can be")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
