"""Locks that the system frees with the process that holds them.

One run of a configuration at a time in a store, and one `perpo serve`. Left out: locks across
machines; on a shared store the scheduler keeps runs apart.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perpo_core.store import Store


@contextmanager
def lock_name(store: Store, name: str) -> Iterator[None]:
    """Hold the lock of a configuration's name; raises ValueError if another process does."""

    def refuse(holder: str) -> str:
        return (
            f"a run of {name!r} is going on in {store.root} (process {holder}); wait until it "
            "has ended, or start this one under another name with --set name=..."
        )

    with lock_file(_path(store, name), str(os.getpid()), refuse):
        yield


@contextmanager
def lock_file(path: Path, own: str, refuse: Callable[[str], str]) -> Iterator[None]:
    """Hold the lock of a file, with `own` as its content.

    Raises ValueError(refuse(what the holder wrote)) if another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        if not _try_lock(handle.fileno()):
            handle.seek(0)
            raise ValueError(refuse(handle.read().strip() or "unknown"))
        handle.truncate(0)
        handle.write(f"{own}\n")
        handle.flush()
        yield


def is_locked(store: Store, name: str) -> bool:
    """Whether a process is running this configuration now."""
    return read_holder(_path(store, name)) is not None


def read_holder(path: Path) -> str | None:
    """What the process that holds a file's lock wrote into it; None if none does."""
    if not path.is_file():
        return None
    with path.open("a+") as handle:
        if _try_lock(handle.fileno()):
            return None
        handle.seek(0)
        return handle.read().strip()


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _path(store: Store, name: str) -> Path:
    return store.root / "runs" / f"{name}.lock"
