# SPDX-License-Identifier: Apache-2.0
"""The scopes this server knows, and which contains which (SMART App Launch 2.2, scopes v2)."""

import re
from typing import Iterable, List, Optional, Set

REGISTER = "system/DynamicClient.register"
PLAIN = ("openid", "fhirUser", "launch/patient", REGISTER)
RESOURCE_TYPES = ("Patient", "Observation")

_RESOURCE = re.compile(r"patient/(\*|%s)\.(rs|r|s|read)" % "|".join(RESOURCE_TYPES))

DESCRIPTIONS = {
    "openid": "know that it is you who signed in",
    "fhirUser": "know which person in the record you are",
    "launch/patient": "know whose record you have chosen",
    REGISTER: "keep access to the record with a key that stays on this device",
}


def supported() -> List[str]:
    """What discovery publishes."""
    return list(PLAIN) + ["patient/*.rs"] + [f"patient/{name}.rs" for name in RESOURCE_TYPES]


def split(scope: Optional[str]) -> List[str]:
    """The values of a scope parameter, in order, each once."""
    return list(dict.fromkeys((scope or "").split()))


def is_known(value: str) -> bool:
    return value in PLAIN or _RESOURCE.fullmatch(value) is not None


def describe(value: str) -> str:
    """What the consent page says about a scope."""
    if value in DESCRIPTIONS:
        return DESCRIPTIONS[value]
    kind = _RESOURCE.fullmatch(value).group(1)
    return "read the whole record" if kind == "*" else f"read the {kind} resources of the record"


def _rights(letters: str) -> Set[str]:
    return set("rs") if letters == "read" else set(letters)


def covers(granted: Iterable[str], wanted: str) -> bool:
    """Whether `wanted` gives nothing beyond `granted`: patient/*.rs covers patient/Patient.r."""
    granted = list(granted)
    if wanted in granted:
        return True
    match = _RESOURCE.fullmatch(wanted)
    if not match:
        return False
    for other in filter(None, map(_RESOURCE.fullmatch, granted)):
        if other.group(1) in ("*", match.group(1)) and _rights(match.group(2)) <= _rights(
            other.group(2)
        ):
            return True
    return False


def allows(granted: Iterable[str], resource_type: str, right: str) -> bool:
    """Whether a token with these scopes may read (`r`) or search (`s`) resources of this type."""
    return covers(granted, f"patient/{resource_type}.{right}")
