#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that what the documentation points to is there.

Usage: doc_lint.py [ROOT]        prints one line for each violation, exits 1 if there is any

- a test that a document names (`Suite.Test` in backticks) is in the tree, so that "shown by" stays true:
  a GoogleTest, or test_Test of the class Suite in tests/e2e;
- a relative link leads to a file, and in what a package installs as documentation to another such.
"""

import os
import pathlib
import re
import sys

import tree

TEST = re.compile(r"^\s*(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", re.MULTILINE)
PYTHON_TEST = re.compile(r"^class (\w+)\(|^    def test_(\w+)\(", re.MULTILINE)
NAMED = re.compile(r"`([A-Z]\w+)\.([A-Z]\w+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


def tests_of(root):
    """All names of tests below tests/, as Suite.Test."""
    names = set()
    for path, file in tree.files(pathlib.Path(root) / "tests"):
        if path.endswith((".cc", ".h")):
            names.update(".".join(match) for match in TEST.findall(tree.read(file)))
        elif path.startswith("e2e/test_"):
            suite = ""
            for class_name, test in PYTHON_TEST.findall(tree.read(file)):
                suite = class_name or suite
                if test:
                    names.add(f"{suite}.{test}")
    return names


def installed(root):
    """What packages install as documentation: path in /usr/share/doc to path below root."""
    found = {}
    for list_of_files in (root / "debian").glob("*.install"):
        for line in tree.read(list_of_files).splitlines():
            pattern, _, target = line.partition(" ")
            if target.startswith("usr/share/doc/"):
                for file in root.glob(pattern):
                    name = f"{target.removeprefix('usr/share/doc/')}/{file.name}"
                    found[name] = file.relative_to(root).as_posix()
    for list_of_files in (root / "debian").glob("*.docs"):
        for name in tree.read(list_of_files).split():
            found[f"{list_of_files.stem}/{name.rpartition('/')[2]}"] = name
    return found


def links_out_of_the_package(root):
    documents = installed(root)
    problems = []
    for place, path in sorted(documents.items()):
        if not path.endswith(".md"):
            continue
        for number, line in enumerate(tree.read(root / path).splitlines(), 1):
            for link in LINK.findall(line):
                target = os.path.normpath(f"{tree.folder_of(place)}/{link}")
                there = any(tree.is_below(one, target) for one in documents)
                if "://" not in link and not link.startswith("mailto:") and not there:
                    problems.append(f"{path}:{number}: the link leads to what no package installs: {link}")
    return problems


def check(root):
    """All violations below root, as "path:line: text"."""
    root = pathlib.Path(root)
    tests = tests_of(root)
    problems = []
    for path, file in tree.files(root):
        if not path.endswith(".md"):
            continue
        example = path in ("docs/testing.md",)  # shows what a name looks like
        for number, line in enumerate(tree.read(file).splitlines(), 1):
            for suite, test in NAMED.findall(line):
                if f"{suite}.{test}" not in tests and not example:
                    problems.append(f"{path}:{number}: there is no test {suite}.{test}")
            for link in LINK.findall(line):
                if "://" not in link and not link.startswith("mailto:") and not (file.parent / link).exists():
                    problems.append(f"{path}:{number}: the link leads nowhere: {link}")
    return problems + links_out_of_the_package(root)


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]
    problems = check(root)
    print("\n".join(problems) if problems else "doc_lint: what the documents point to is there")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
