# SPDX-License-Identifier: Apache-2.0
"""Which files of a checkout the lints look at. Needs no git: a release tarball is checked too."""

import pathlib

SKIPPED_FOLDERS = {"build", "__pycache__", "node_modules", "_deps"}


def files(root):
    """Every file below root as (path relative to root with slashes, absolute path), sorted."""
    root = pathlib.Path(root)
    pending = [root]
    found = []
    while pending:
        for entry in pending.pop().iterdir():
            if entry.is_symlink():
                continue
            if entry.is_dir():
                packed = entry.parent == root / "debian" and entry.name != "source"  # what debhelper leaves there
                if entry.name not in SKIPPED_FOLDERS and not entry.name.startswith(".") and not packed:
                    pending.append(entry)
            else:
                found.append((entry.relative_to(root).as_posix(), entry))
    return sorted(found)


def read(path):
    """The text of a file; bytes that are no UTF-8 do not stop a lint."""
    return path.read_text(encoding="utf-8", errors="replace")


def folder_of(path):
    return path.rpartition("/")[0]


def is_below(folder, parent):
    """True for the folder itself and everything in it."""
    return folder == parent or folder.startswith(parent + "/")
