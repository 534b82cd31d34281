#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads every #include of the tree against the layer table.

Usage: layer_lint.py [ROOT]      prints one line for each violation, exits 1 if there is any

Two rules, both explained in docs/architecture.md:
- a folder includes only the folders that LAYERS gives it, so a lower layer never sees a higher one;
- a technology is seen by one folder (TECHNOLOGIES), everything else knows the interface only.
"""

import pathlib
import re
import sys

import tree

# folder: the folders whose headers it may include, beside its own. Lowest layer first; a folder is
# ruled by the longest entry that is a part of its path.
LAYERS = {
    # 0
    "base": [],
    # 1
    "hsm": ["base"],
    "daemon/model": ["base", "hsm"],
    # 2
    "daemon/jose": ["base", "hsm", "daemon/model"],
    "daemon/http": ["base"],
    "daemon/store": ["base", "hsm", "daemon/model"],
    # 3
    "daemon/oauth": ["base", "hsm", "daemon/model", "daemon/jose", "daemon/http"],
    "daemon/access": ["base", "hsm", "daemon/model", "daemon/store"],
    "daemon/audit": ["base", "hsm", "daemon/model", "daemon/jose", "daemon/access"],
    # 4
    "daemon/token": ["base", "hsm", "daemon/model", "daemon/jose", "daemon/store", "daemon/oauth",
                     "daemon/access"],
    "daemon/enrollment": ["base", "hsm", "daemon/model", "daemon/jose", "daemon/http", "daemon/store",
                          "daemon/oauth", "daemon/access", "daemon/token"],
    # 5
    "daemon/rpc": ["base", "hsm", "proto", "daemon/model", "daemon/jose", "daemon/http", "daemon/store",
                   "daemon/oauth", "daemon/access", "daemon/token", "daemon/enrollment"],
    # Adapters: the interface beside them, and base.
    "hsm/tpm": ["base", "hsm"],
    "hsm/pkcs11": ["base", "hsm"],
    "daemon/http/curl": ["base", "daemon/http"],
    "daemon/store/sqlite": ["base", "hsm", "daemon/model", "daemon/store"],
    # 6: puts everything together.
    "daemon/app": ["base", "hsm", "proto", "daemon"],
    # Programs on the other side of the socket.
    "clients": ["base", "proto", "clients"],
    # Tests may look at everything; what they may use is in TECHNOLOGIES.
    "tests": ["base", "hsm", "proto", "daemon", "clients"],
}

# Adapters are included by whoever puts the daemon together, never through "hsm" or "daemon" above.
ADAPTERS = ["hsm/tpm", "hsm/pkcs11", "daemon/http/curl", "daemon/store/sqlite"]
ADAPTER_USERS = ["daemon/app", "tests"]

# (what an include begins with, the folders that may have it).
TECHNOLOGIES = [
    ("tss2/", ["hsm/tpm", "tests/hsm", "tests/contract", "tests/support", "tests/bench"]),
    ("p11-kit/", ["hsm/pkcs11", "tests/hsm", "tests/contract", "tests/support", "tests/fuzz", "tests/bench"]),
    ("curl/", ["daemon/http/curl", "tests/daemon/http"]),
    ("sqlite3.h", ["daemon/store/sqlite", "tests/daemon/store"]),
    ("grpc/", ["daemon/rpc", "clients", "tests/proto", "tests/daemon/rpc", "tests/clients",
               "tests/bench", "tests/integration", "tests/support"]),
    ("grpcpp/", ["daemon/rpc", "clients", "tests/proto", "tests/daemon/rpc", "tests/clients",
                 "tests/bench", "tests/integration", "tests/support"]),
    ("boost/", ["clients/ctl"]),
    ("prometheus/", ["daemon/app"]),
    ("httplib.h", ["daemon/app"]),
]

# What a client library shows to its users has no gRPC type in it.
PUBLIC_HEADERS = "clients/cpp/smartkey"

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)
GENERATED = re.compile(r"\.(?:grpc\.)?pb\.h$")


def rule_for(folder):
    """The entry of LAYERS that rules a folder, or None."""
    entries = [entry for entry in LAYERS if tree.is_below(folder, entry)]
    return max(entries, key=len, default=None)


def target_folder(root, folder, include):
    """The folder of the header that a quoted include means; None if it is not in the tree."""
    if GENERATED.search(include):
        return "proto"
    for base in ("", "clients/cpp", folder):
        path = f"{base}/{include}".lstrip("/")
        if (root / path).is_file():
            return tree.folder_of(pathlib.PurePosixPath(path).as_posix())
    return None


def layer_problem(folder, target):
    """Why `folder` may not include something in `target`; empty if it may."""
    rule = rule_for(folder)
    if rule is None:
        return f"{folder} is in no row of the layer table"
    target_rule = rule_for(target) or target
    if target_rule == rule:
        return ""
    if target_rule in ADAPTERS:
        if any(tree.is_below(folder, user) for user in ADAPTER_USERS):
            return ""
        return f"{folder} includes the adapter {target_rule}: only daemon/app and tests may"
    if any(tree.is_below(target, allowed) for allowed in LAYERS[rule]):
        return ""
    return f"{folder} may not include {target_rule} (layer table)"


def technology_problem(folder, include):
    """Why `folder` may not include this header of a library; empty if it may."""
    for prefix, folders in TECHNOLOGIES:
        if include.startswith(prefix) and not any(tree.is_below(folder, one) for one in folders):
            return f"{folder} may not see {include}: that belongs to {folders[0]}"
    if include.endswith(".grpc.pb.h") and technology_problem(folder, "grpcpp/"):
        return f"{folder} may not see {include}: gRPC belongs to daemon/rpc and clients"
    if folder == PUBLIC_HEADERS and (GENERATED.search(include) or include.startswith("grpc")):
        return f"{folder} is what apps include: no gRPC or proto type in it ({include})"
    return ""


def check(root):
    """All violations below root, as "path:line: text"."""
    root = pathlib.Path(root)
    problems = []
    for path, file in tree.files(root):
        if not path.endswith((".h", ".cc")) or path.startswith("cmake/"):
            continue
        folder = tree.folder_of(path)
        text = tree.read(file)
        for match in INCLUDE.finditer(text):
            include = match.group(1) or match.group(2)
            line = text.count("\n", 0, match.start(match.lastindex)) + 1
            problem = technology_problem(folder, include)
            if not problem and match.group(1):
                target = target_folder(root, folder, include)
                # Quoted, but another library's ("absl/...") : no layer of ours.
                problem = layer_problem(folder, target) if target is not None else ""
            if problem:
                problems.append(f"{path}:{line}: {problem}")
    return problems


def main():
    root = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]
    problems = check(root)
    print("\n".join(problems) if problems else "layer_lint: every include fits the layer table")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
