#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Small rules that every source file keeps.

Usage: source_lint.py [ROOT]     prints one line for each violation, exits 1 if there is any

- the first line (the second after `#!`) names the license;
- a header has `#pragma once`;
- no file has more than 1,000 lines;
- nothing is left undone under a note, and no test is switched off;
- what changes a TPM for good is called in one file only;
- the daemon changes the state of a registration through the table of states alone.
"""

import pathlib
import re
import sys

import tree

MOST_LINES = 1000
LICENSE_LINE = "SPDX-License-Identifier: Apache-2.0"

# In pieces, so that this file does not find itself.
UNDONE = re.compile(r"\b(?:%s)\b" % "|".join(("TO" "DO", "FIX" "ME", "X" "XX")))
SWITCHED_OFF = re.compile(r"\bDISABLED" r"_\w|\bGTEST" r"_SKIP\b|unittest\." r"skip|\bskip" r"Test\(")

# What stays in a TPM after us, or takes something of others out of it. Tests play other programs.
LASTING = re.compile(r"\b(?:Esys|Tss2_Sys)_(?:EvictControl|NV_DefineSpace|NV_UndefineSpace|Clear|ClearControl|"
                     r"ChangeEPS|ChangePPS|HierarchyChangeAuth|SetPrimaryPolicy|DictionaryAttack\w+)"
                     r"(?:_Async|_Finish)?\b")
MAY_LAST = "hsm/tpm/tpm_provisioning.cc"
ONLY_THIS_MAY_LAST = "Esys_EvictControl"

# `generation.state = GenerationState::kActive`, over lines, with any expression in it.
STATE_CHANGE = re.compile(r"(?:\.|->)state\s*=[^=;][^;]*GenerationState::")
STATE_TABLE = "daemon/model/state_table.cc"

SOURCES = (".cc", ".h", ".py", ".sh", ".proto", ".cmake")
TEXTS = (".md", ".toml", ".html", ".service", ".socket")


def is_script(path, text):
    """A program without an ending: scripts/demo."""
    return "." not in path.rpartition("/")[2] and text.startswith("#!")


def check_file(path, text):
    """The problems of one file, as (line, text)."""
    name = path.rpartition("/")[2]
    is_source = path.endswith(SOURCES) or name == "CMakeLists.txt" or is_script(path, text)
    if not is_source and not path.endswith(TEXTS):
        return []
    problems = []
    lines = text.splitlines()
    if is_source:
        first = lines[1:2] if text.startswith("#!") else lines[:1]
        if not first or LICENSE_LINE not in first[0]:
            problems.append((1, "the license line is missing: " + LICENSE_LINE))
    if path.endswith(".h") and "#pragma once" not in lines:
        problems.append((1, "a header needs #pragma once"))
    if len(lines) > MOST_LINES:
        problems.append((len(lines), f"more than {MOST_LINES} lines: this is more than one idea"))
    if path.startswith("daemon/") and path != STATE_TABLE:
        for found in STATE_CHANGE.finditer(text):
            problems.append((text.count("\n", 0, found.start()) + 1,
                             "a state is changed past the table of states: use MoveState"))
    for number, line in enumerate(lines, 1):
        if UNDONE.search(line):
            problems.append((number, "something is left undone here: do it, or say so in the docs"))
        if is_source and SWITCHED_OFF.search(line):
            problems.append((number, "a test is switched off: mend it or take it out"))
        for call in LASTING.findall(line) if path.endswith((".cc", ".h")) and not path.startswith("tests/") else ():
            if path != MAY_LAST or call != ONLY_THIS_MAY_LAST:
                problems.append((number, f"{call} changes the TPM for good: only 'smartkeyctl tpm provision' may, "
                                         f"with {ONLY_THIS_MAY_LAST} in {MAY_LAST}"))
    return problems


def check(root):
    """All violations below root, as "path:line: text"."""
    problems = []
    for path, file in tree.files(root):
        for line, problem in check_file(path, tree.read(file)):
            problems.append(f"{path}:{line}: {problem}")
    return problems


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]
    problems = check(root)
    print("\n".join(problems) if problems else "source_lint: every file keeps the rules")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
