"""Locks that the system frees with the process that holds them.

One run of a configuration at a time in a store, none while its garbage is removed; one `perpo
serve`.

<store>/runs/<name>.lock     held by the run of that name
<store>/runs/.store.lock     shared by all that read or write the store, held alone by a removal

Left out: locks across machines; on a shared store the scheduler keeps runs apart.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perpo_core.locks import try_lock
from perpo_core.store import Store


@contextmanager
def lock_name(store: Store, name: str) -> Iterator[None]:
    """Hold the lock of a configuration's name; raises ValueError if another process does."""

    def refuse(holder: str) -> str:
        return (
            f"a run of {name!r} is going on in {store.root} (process {holder}); wait until it "
            "has ended, or start this one under another name with --set name=..."
        )

    with share_store(store), lock_file(_path(store, name), str(os.getpid()), refuse):
        yield


@contextmanager
def lock_file(path: Path, own: str, refuse: Callable[[str], str]) -> Iterator[None]:
    """Hold the lock of a file, with `own` as its content.

    Raises ValueError(refuse(what the holder wrote)) if another process has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        if not try_lock(handle):
            handle.seek(0)
            raise ValueError(refuse(handle.read().strip() or "unknown"))
        handle.truncate(0)
        handle.write(f"{own}\n")
        handle.flush()
        yield


@contextmanager
def share_store(store: Store) -> Iterator[None]:
    """Keep `perpo gc` away; raises ValueError while it is at work."""
    path = _path(store, ".store")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        if not try_lock(handle, shared=True):
            raise ValueError(f"perpo gc is at work in {store.root}; try again when it has ended")
        yield


@contextmanager
def lock_store(store: Store) -> Iterator[None]:
    """Hold the whole store alone; raises ValueError while anything runs in it."""
    path = _path(store, ".store")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        alone = try_lock(handle)
        running = list_locked(store)
        if running or not alone:
            what = f"a run of {running[0]!r}" if running else "another perpo command"
            raise ValueError(f"{what} is going on in {store.root}; wait until it has ended")
        yield


def list_locked(store: Store) -> list[str]:
    """The names whose run is going on now."""
    names = sorted(path.stem for path in (store.root / "runs").glob("[!.]*.lock"))
    return [name for name in names if is_locked(store, name)]


def is_locked(store: Store, name: str) -> bool:
    """Whether a process is running this configuration now."""
    return read_holder(_path(store, name)) is not None


def read_holder(path: Path) -> str | None:
    """What the process that holds a file's lock wrote into it; None if none does."""
    if not path.is_file():
        return None
    with path.open("a+") as handle:
        if try_lock(handle):
            return None
        handle.seek(0)
        return handle.read().strip()


def _path(store: Store, name: str) -> Path:
    return store.root / "runs" / f"{name}.lock"
