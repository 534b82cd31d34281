# SPDX-License-Identifier: Apache-2.0
"""Looks through a process's memory."""

import re


def places_in_memory(pid, wanted):
    """Where `wanted` stands in the process's memory, as region:offset."""
    found = []
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            region, rights = line.split()[:2]
            name = line.split()[5] if len(line.split()) > 5 else "anonymous"
            if "r" not in rights or name in ("[vvar]", "[vsyscall]"):
                continue
            start, end = (int(address, 16) for address in region.split("-"))
            memory.seek(start)
            try:
                data = memory.read(end - start)
            except OSError:
                continue  # gone meanwhile, or a device's
            found += [f"{name} {region}+{match.start():x}" for match in re.finditer(re.escape(wanted), data)]
    return found
