"""Locks on files that the system frees with the process that holds them.

Left out: locks across machines (perpo_core/lease.py has those of a store in a bucket).
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

POLL_S = 0.2  # a wait in short steps can be cancelled in between


def try_lock(handle: IO[str] | int, *, shared: bool = False) -> bool:
    """Whether the open file is locked now, alone or with others that share it; never waits."""
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
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


@contextmanager
def locked_folder(folder: Path, say_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a folder alone, made if need be; waits as long as it takes, and says so once.

    The lock is on the folder itself: it leaves no file among those that the folder is for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not try_lock(descriptor):
            say_waiting()
            while not try_lock(descriptor):
                time.sleep(POLL_S)
        yield
    finally:
        os.close(descriptor)
