"""One run of a configuration at a time in a store: a lock that the system frees with the process.

Left out: locks across machines; on a shared store the scheduler keeps runs apart.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perpo_core.store import Store


@contextmanager
def lock_name(store: Store, name: str) -> Iterator[None]:
    """Hold the lock of a configuration's name; raises ValueError if another process does."""
    path = _path(store, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        if not _try_lock(handle.fileno()):
            handle.seek(0)
            holder = handle.read().strip() or "unknown"
            raise ValueError(
                f"a run of {name!r} is going on in {store.root} (process {holder}); wait until it "
                "has ended, or start this one under another name with --set name=..."
            )
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield


def is_locked(store: Store, name: str) -> bool:
    """Whether a process is running this configuration now."""
    path = _path(store, name)
    if not path.is_file():
        return False
    with path.open("a+") as handle:
        return not _try_lock(handle.fileno())


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _path(store: Store, name: str) -> Path:
    return store.root / "runs" / f"{name}.lock"
