# SPDX-License-Identifier: Apache-2.0
"""What came in, one JSON object a request: for tests that count and compare, without secrets.

Tokens, assertions and codes appear only as the first 16 hex digits of their SHA-256.
"""

import json
import threading
from typing import List, Optional


class RequestLog:
    """Thread-safe. An entry is in the file before the answer leaves the server."""

    def __init__(self, path: Optional[str] = None):
        self._lock = threading.Lock()
        self._file = open(path, "a", encoding="utf-8") if path else None
        self._entries: List[dict] = []
        self._last_seq = 0

    def add(self, entry: dict) -> None:
        with self._lock:
            self._last_seq += 1
            entry = {"seq": self._last_seq, **entry}
            self._entries.append(entry)
            if self._file:
                self._file.write(json.dumps(entry) + "\n")
                self._file.flush()

    def entries(self, since: int = 0, path: Optional[str] = None) -> List[dict]:
        """Entries with a greater `seq`, of one path when given."""
        with self._lock:
            return [e for e in self._entries if e["seq"] > since and path in (None, e["path"])]

    def clear(self) -> None:
        """Empties what `entries` returns. The file, and the counting of `seq`, go on."""
        with self._lock:
            self._entries.clear()
