"""The password of a store's server: made once, kept beside its database, read by its owner alone.

It is what Prefect's auth strings are, "user:password". Whoever has it may run any code as the user
who serves, so that no server of ours is without one. The addresses of reports carry a key of their
own instead, which opens nothing else.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from flows.runs.home import PASSWORD_FILE, load_auth
from flows.serving.private import FILE_MODE
from perpo_core.store.atomic import temporary_beside

SERVER_AUTH = "PREFECT_SERVER_API_AUTH_STRING"  # "user:password" that a server asks for
CLIENT_AUTH = "PREFECT_API_AUTH_STRING"  # what Prefect's clients send
USER = "perpo"
NUM_RANDOM_BYTES = 24


def find_own_auth() -> str | None:
    """What the user has set for a server that is started here; None if nothing."""
    return os.environ.get(SERVER_AUTH) or None


def build_auth() -> str:
    """A new one."""
    return f"{USER}:{secrets.token_urlsafe(NUM_RANDOM_BYTES)}"


def load_or_write_auth(home: Path) -> str:
    """That of the server whose home this is, which is private; made where there is none yet."""
    if (known := load_auth(home)) is not None:
        return known
    auth = build_auth()
    with temporary_beside(home / PASSWORD_FILE) as temporary:
        temporary.chmod(FILE_MODE)
        temporary.write_text(f"{auth}\n")
    return auth
