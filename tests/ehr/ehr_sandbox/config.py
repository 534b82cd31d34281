# SPDX-License-Identifier: Apache-2.0
"""Who exists in the sandbox: apps known to the EHR (step 0), users, and the sizes of things."""

import json
from dataclasses import dataclass, field
from typing import Dict, List

DEFAULT_ALGORITHMS = ["ES384", "RS384", "ES256", "RS256"]


@dataclass(frozen=True)
class App:
    """An app the EHR vendor has registered: `software_id` belongs to exactly one `client_id`."""

    client_id: str
    software_id: str
    name: str
    redirect_uris: List[str]


@dataclass(frozen=True)
class User:
    """A person who can log in, and the patients whose records they may give access to."""

    name: str
    password: str
    fhir_user: str  # relative to the FHIR base
    patients: List[str]


@dataclass
class Config:
    apps: List[App]
    users: Dict[str, User]
    initial_token_ttl: int = 300
    authorization_code_ttl: int = 300
    access_token_ttl: int = 3600
    algorithms: List[str] = field(default_factory=lambda: list(DEFAULT_ALGORITHMS))

    @staticmethod
    def default() -> "Config":
        loopback = ["http://127.0.0.1/callback", "http://localhost/callback"]
        return Config(
            apps=[
                App("growth-chart", "growth-chart-software", "Growth Chart", loopback),
                App("viewer", "viewer-software", "Example Viewer", loopback),
            ],
            users={
                "alice": User("alice", "alice-password", "Patient/pat-1", ["pat-1", "pat-2"]),
                "bob": User("bob", "bob-password", "Patient/pat-2", ["pat-2"]),
            },
        )

    @staticmethod
    def load(path: str) -> "Config":
        """Reads a JSON file; a member that is absent keeps its default. Raises ValueError."""
        config = Config.default()
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        for name, value in given.items():
            if name == "apps":
                config.apps = [App(**app) for app in value]
            elif name == "users":
                config.users = {user["name"]: User(**user) for user in value}
            elif name in (
                "initial_token_ttl",
                "authorization_code_ttl",
                "access_token_ttl",
                "algorithms",
            ):
                setattr(config, name, value)
            else:
                raise ValueError(f"unknown member {name!r} in {path}")
        for what in ("client_id", "software_id"):
            if len({getattr(app, what) for app in config.apps}) != len(config.apps):
                raise ValueError(f"two apps with one {what} in {path}")
        return config
