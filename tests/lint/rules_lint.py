#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The example alerts (docs/smartkeyd.rules.yml) are what Prometheus reads, and ask for metrics that docs/metrics.md names.

Usage: rules_lint.py [ROOT]      prints one line for each violation, exits 1 if there is any
"""

import pathlib
import re
import sys

import yaml

RULES = "docs/smartkeyd.rules.yml"
NAME = re.compile(r"\bsmartkeyd_\w+")
HISTOGRAM = re.compile(r"_(bucket|sum|count)$")
DURATION = re.compile(r"^\d+[smhd]$")
PAIRS = {")": "(", "}": "{", "]": "["}


def balanced(expression):
    opened = []
    for char in re.sub(r'"[^"]*"', "", expression):
        if char in PAIRS.values():
            opened.append(char)
        elif char in PAIRS and (not opened or opened.pop() != PAIRS[char]):
            return False
    return not opened


def problems_of_rule(rule, documented):
    name = rule.get("alert", "a rule")
    for key in rule.keys() - {"alert", "expr", "for", "labels", "annotations"}:
        yield f"{name} has '{key}', which no alert has"
    if not rule.get("annotations", {}).get("summary"):
        yield f"{name} says nothing to who is woken"
    if rule.get("labels", {}).get("severity") not in ("warning", "critical"):
        yield f"{name} has no severity"
    if "for" in rule and not DURATION.match(rule["for"]):
        yield f"{name}: '{rule['for']}' is no duration"
    expression = rule.get("expr", "")
    if not balanced(expression):
        yield f"{name}: a bracket is missing in its expression"
    names = NAME.findall(expression)
    if not names:
        yield f"{name} asks for no metric"
    for metric in names:
        if metric not in documented and HISTOGRAM.sub("", metric) not in documented:
            yield f"{name} asks for {metric}, which docs/metrics.md does not name"


def check(root):
    documented = set(re.findall(r"`(smartkeyd_\w+)`", (root / "docs/metrics.md").read_text(encoding="utf-8")))
    rules = yaml.safe_load((root / RULES).read_text(encoding="utf-8"))
    found = []
    alerts = set()
    for group in rules["groups"]:
        for rule in group["rules"]:
            found += problems_of_rule(rule, documented)
            if rule["alert"] in alerts:
                found.append(f"{rule['alert']} is there twice")
            alerts.add(rule["alert"])
    return [f"{RULES}: {problem}" for problem in found]


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2])
    found = check(root)
    print("\n".join(found) or "rules_lint: each alert can be read and asks for what there is")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
