"""Locks on files that the system frees with the process that holds them.

Left out: locks across machines (perpo_core/lease.py has those of a store in a bucket).
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def try_lock(handle: IO[str], *, shared: bool = False) -> bool:
    """Whether the open file is locked now, alone or with others that share it; never waits."""
    try:
        fcntl.flock(handle.fileno(), (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file alone; waits, so only for work of milliseconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        fcntl.flock(handle.fileno(), fcntl.LOCK_EX)
        yield
