"""Locks that are freed with the process that holds them.

One run of a configuration at a time in a store, none while its garbage is removed; one `perpo
serve`.

<store>/runs/<name>.lock     held by the run of that name
<store>/runs/.store.lock     shared by all that read or write the store, held alone by a removal

Of a store in a bucket they lie in the working copy, and a lease beside each in the bucket keeps
other machines away (perpo_core/lease.py): a dead machine's is free after a minute.

Left out: locks across machines on a shared folder; there the scheduler keeps runs apart.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from perpo_core.lease import find_holder, hold_lease
from perpo_core.locks import try_lock
from perpo_core.remote_store import RemoteStore
from perpo_core.store import Store

ALL = ".store"


@contextmanager
def lock_name(store: Store, name: str) -> Iterator[Callable[[], None]]:
    """Hold the lock of a configuration's name; raises ValueError if another process does.

    Yields what raises ValueError once another machine may have taken it over.
    """

    def refuse(holder: str) -> str:
        return (
            f"a run of {name!r} is going on in {store.place} ({holder}); wait until it has ended, "
            "or start this one under another name with --set name=..."
        )

    own = f"process {os.getpid()}"
    with share_store(store), lock_file(_path(store, name), own, refuse):
        if not isinstance(store, RemoteStore):
            yield lambda: None
            return
        with hold_lease(store.remote, _lease(name), store.machine) as lease:
            if lease is None:
                holder = find_holder(store.remote, _lease(name), store.machine) or "another machine"
                raise ValueError(refuse(f"{holder}; if that machine died, wait a minute"))
            _refuse_gc(store)
            yield lease.check


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
    path = _path(store, ALL)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        if not try_lock(handle, shared=True):
            raise ValueError(f"perpo gc is at work in {store.place}; try again when it has ended")
        _refuse_gc(store)
        yield


def _refuse_gc(store: Store) -> None:
    if not isinstance(store, RemoteStore):
        return
    if holder := find_holder(store.remote, _lease(ALL), store.machine):
        raise ValueError(
            f"perpo gc is at work in {store.place} ({holder}); try again when it has ended"
        )


@contextmanager
def lock_store(store: Store) -> Iterator[None]:
    """Hold the whole store alone; raises ValueError while anything runs in it."""
    path = _path(store, ALL)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        alone = try_lock(handle)
        _refuse_others(store, list_locked(store), alone)
        if not isinstance(store, RemoteStore):
            yield
            return
        with hold_lease(store.remote, _lease(ALL), store.machine) as lease:
            _refuse_others(store, list_locked(store), lease is not None)
            yield


def _refuse_others(store: Store, running: Sequence[str], alone: bool) -> None:
    if running or not alone:
        what = f"a run of {running[0]!r}" if running else "another perpo command"
        raise ValueError(f"{what} is going on in {store.place}; wait until it has ended")


def list_locked(store: Store) -> list[str]:
    """The names whose run is going on now."""
    names = {path.stem for path in (store.root / "runs").glob("[!.]*.lock")}
    if isinstance(store, RemoteStore):
        names |= {Path(lease).stem for lease in store.list_files("runs", ".lease")}
    return [name for name in sorted(names) if is_locked(store, name)]


def is_locked(store: Store, name: str) -> bool:
    """Whether a process is running this configuration now."""
    if read_holder(_path(store, name)) is not None:
        return True
    if not isinstance(store, RemoteStore):
        return False
    return find_holder(store.remote, _lease(name), store.machine) is not None


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


def _lease(name: str) -> str:
    return f"runs/{name}.lease"
