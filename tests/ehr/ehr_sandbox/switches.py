# SPDX-License-Identifier: Apache-2.0
"""Faults and settings that a test turns on at run time. README.md lists what each of them does."""

import copy
import threading
from typing import Any, Dict, Optional

ENDPOINTS = (
    "authorize",
    "token",
    "register",
    "revoke",
    "smart_configuration",
    "metadata",
    "rfc8414",
    "fhir",
)

#: One value each.
PLAIN = (
    "access_token_ttl",
    "access_token_length",
    "authorization_iss",
    "burn_initial_token_on_refusal",
    "clock_offset",
    "discovery",
    "grant_register_scope",
    "metadata",
    "registration_answer",
    "registration_error",
    "retry_after",
    "rfc8414",
    "supported_algs",
    "token_answer",
    "token_audience",
    "token_error",
)

#: One value for each endpoint: {"token": 300, "register": {"value": 5, "times": 1}}.
PER_ENDPOINT = ("delay_ms", "delay_after_ms", "drop_before", "drop_after", "cut_midway", "drip_ms")

#: What can be done to any document.
_DOCUMENT = ("html", "malformed", "huge", "override", "raw", "redirect")

#: Values that a switch may have, where there is a closed list.
CHOICES = {
    "registration_answer": (
        "no_client_id",
        "other_key",
        "huge",
        "html",
        "wrong_software_id",
        "client_secret",
        "epic_like",
        "full",
        "drop_after_work",
        "no_jwt_bearer",
        "malformed",
        "redirect",
        "override",
        "raw",
    ),
    "token_answer": (
        "html",
        "no_token_type",
        "expires_in",
        "other_patient",
        "no_patient",
        "no_scope",
        "wider_scope",
        "malformed",
        "huge",
        "redirect",
        "override",
        "raw",
        "drop_after_work",
    ),
    "discovery": ("no_registration_endpoint", "not_found", "relative", "plain_only") + _DOCUMENT,
    "metadata": ("xml", "not_found", "oauth_uris") + _DOCUMENT,
    "rfc8414": ("not_found", "wrong_issuer") + _DOCUMENT,
}


class UnknownSwitch(ValueError):
    """A name or a value that no switch has; the message says which would do."""


class Switches:
    """Thread-safe. A switch is kept as an object with `value` and, when limited, `times`."""

    def __init__(self):
        self._lock = threading.Lock()
        self._set: Dict[str, dict] = {}

    def clear(self) -> None:
        with self._lock:
            self._set.clear()

    def as_dict(self) -> Dict[str, dict]:
        with self._lock:
            return copy.deepcopy(self._set)

    def update(self, wanted: Dict[str, Any]) -> None:
        """Sets each switch named; None turns it off. All of them or, when one is unknown, none."""
        changes: Dict[str, Optional[dict]] = {}
        for name, value in wanted.items():
            if name in PLAIN:
                changes[name] = _normalise(name, value)
            elif name in PER_ENDPOINT and isinstance(value, dict):
                for endpoint, inner in value.items():
                    if endpoint not in ENDPOINTS:
                        raise UnknownSwitch(
                            f"no endpoint {endpoint!r}; there are {', '.join(ENDPOINTS)}"
                        )
                    changes[f"{name}.{endpoint}"] = _normalise(name, inner)
            elif name in PER_ENDPOINT:
                raise UnknownSwitch(f'{name} takes an object of endpoints, like {{"token": 100}}')
            else:
                raise UnknownSwitch(
                    f"no switch {name!r}; there are {', '.join(PLAIN + PER_ENDPOINT)}"
                )
        with self._lock:
            for name, switch in changes.items():
                if switch is None:
                    self._set.pop(name, None)
                else:
                    self._set[name] = switch

    def value(self, name: str, default: Any = None) -> Any:
        """The value, without counting a use."""
        with self._lock:
            return self._set.get(name, {}).get("value", default)

    def take(self, name: str, **conditions) -> Optional[dict]:
        """The switch when it is on and agrees with `conditions`, counting one use of its `times`.

        A condition `grant="x"` agrees with a switch whose member `grant` is "x" or "any".
        """
        with self._lock:
            switch = self._set.get(name)
            if switch is None:
                return None
            if any(switch.get(key) not in (wanted, "any") for key, wanted in conditions.items()):
                return None
            if "times" in switch:
                switch["times"] -= 1
                if switch["times"] <= 0:
                    del self._set[name]
            return dict(switch)


def _normalise(name: str, value: Any) -> Optional[dict]:
    if value is None:
        return None
    switch = dict(value) if isinstance(value, dict) else {"value": value}
    if name in ("token_error", "token_answer"):
        switch.setdefault("grant", "jwt-bearer")
    if name in ("token_error", "registration_error"):
        # `{"error": ..., "status": ...}`, or just the error code.
        switch.setdefault("error", switch.pop("value", None))
    times = switch.get("times", 1)
    if not isinstance(times, int) or times < 1:
        raise UnknownSwitch(f"{name}: times must be a positive number")
    choices = CHOICES.get(name)
    if choices and switch.get("value") not in choices:
        raise UnknownSwitch(
            f"{name} cannot be {switch.get('value')!r}; it can be {', '.join(choices)}"
        )
    return switch
