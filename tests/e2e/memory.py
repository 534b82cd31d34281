# SPDX-License-Identifier: Apache-2.0
"""Looks through a process's memory."""

import re


def regions(pid):
    """(range, rights, name, flags) of each mapping; `dd` among the flags: not in a core file (proc(5), VmFlags)."""
    with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps:
        head = None
        for line in smaps:
            words = line.split()
            if re.fullmatch(r"[0-9a-f]+-[0-9a-f]+", words[0]):
                head = words[0], words[1], words[5] if len(words) > 5 else "anonymous"
            elif words[0] == "VmFlags:":
                yield *head, words[1:]


def places_in_memory(pid, wanted, in_core=False):
    """Where `wanted` stands in the process's memory, as region:offset. in_core: only where a core file takes it."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for region, rights, name, flags in regions(pid):
            if "r" not in rights or name in ("[vvar]", "[vsyscall]") or (in_core and "dd" in flags):
                continue
            start, end = (int(address, 16) for address in region.split("-"))
            memory.seek(start)
            try:
                data = memory.read(end - start)
            except OSError:
                continue  # gone meanwhile, or a device's
            found += [f"{name} {region}+{match.start():x}" for match in re.finditer(re.escape(wanted), data)]
    return found
