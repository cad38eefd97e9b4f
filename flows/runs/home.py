"""What anybody sees of the server of a store: whether there is one, where, and what opens it."""

from __future__ import annotations

import hmac
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from perpo_core.store.locks import read_holder
from perpo_core.store.place import Place, find_folder

HOME = ".prefect"
LOCK_FILE = "serve.lock"
PASSWORD_FILE = "password"
PUBLIC_URL = "PERPO_PUBLIC_URL"


def find_served(store: Place) -> str | None:
    """The API of the server that serves a store now; None if none does.

    Another user's, whose folder is closed to this one, is no server of this user.
    """
    holder = read_holder(find_folder(store) / HOME / LOCK_FILE)
    return holder if holder and holder.startswith("http") else None


def find_public_url() -> str | None:
    """The further address that the user has given the server, as a proxy's; None if none.

    Raises ValueError, one sentence, if it is none.
    """
    url = os.environ.get(PUBLIC_URL)
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(
            f"{PUBLIC_URL} = {url} is no address of a server; write https://HOST or http://HOST:PORT"
        )
    return url.rstrip("/").lower()


def load_auth(home: Path) -> str | None:
    """That of the server whose home this is; None if it has none, or is another user's."""
    with suppress(FileNotFoundError, PermissionError):
        return (home / PASSWORD_FILE).read_text().strip() or None
    return None


def find_reports_key(home: Path) -> str | None:
    """The part of a report's address that opens the store's reports, and nothing else.

    It is the same whatever password the user has set, and None where nobody has served yet.
    """
    return _derive_key(home, b"reports")


def find_view_key(home: Path) -> str | None:
    """The same for the rows of the store's runs: who was sent a report does not see all data."""
    return _derive_key(home, b"view")


def find_tune_key(home: Path) -> str | None:
    """The same for the page on which trials are compared: who has it may answer there."""
    return _derive_key(home, b"tune")


def _derive_key(home: Path, what: bytes) -> str | None:
    auth = load_auth(home)
    return auth and hmac.digest(auth.encode(), what, "sha256").hex()[:32]
