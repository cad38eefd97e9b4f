"""Replies of judges in the store, by the sha256 of what was asked.

    <store>/judge/<first two digits>/<sha256>.json    {"reply": ...}

They are no artifacts: nothing rests on them but that they need not be asked for again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from perpo_core.store.store import Store

FOLDER = "judge"


class Replies:
    """Those of a store; safe to use from several threads and processes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, digests: Iterable[str]) -> dict[str, str]:
        """Digest -> reply, of those that there are and that can be read."""
        names = {_name(digest): digest for digest in digests}
        bodies = self._store.read_all(names)
        found = {names[name]: _parse(body) for name, body in bodies.items()}
        return {digest: reply for digest, reply in found.items() if reply is not None}

    def keep(self, digest: str, reply: str) -> None:
        """Beside those that there are."""
        self._store.write(_name(digest), json.dumps({"reply": reply}).encode())


def _parse(body: bytes) -> str | None:
    try:
        found = json.loads(body)
    except ValueError:
        return None
    reply = found.get("reply") if isinstance(found, dict) else None
    return reply if isinstance(reply, str) else None


def _name(digest: str) -> str:
    return f"{FOLDER}/{digest[:2]}/{digest}.json"
