"""Who may run here: the one place that asks and answers, whatever kind of store it is.

    a run of a name          alone                         runs/<name>.lock
    the store                shared, by all that use it;   runs/.store.lock
                             alone, by a removal
    an artifact              alone, by who makes it        <kind>/<key>/.lock
    promotions, approvals    alone, for milliseconds       promoted/.lock
    a server                 alone                         .prefect/serve.lock

A store in a folder has the locks of these files (perpo_core/store/file_lock.py). Of a store in a
bucket they lie in the working copy and keep this machine's processes apart; beside the first two a
lease in the bucket (perpo_core/store/bucket/lease.py) keeps machines apart, and a dead one's is
free after a minute. Artifacts and promotions need no lease: there the bucket's conditional writes
decide.

Looking takes nothing and needs no right to write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perpo_core.store.bucket.lease import find_holder, hold_lease
from perpo_core.store.bucket.store import RemoteStore
from perpo_core.store.file_lock import find_file_holder, hold_file, wait_for_file
from perpo_core.store.store import LOCK_FILE, Store

ALL = ".store"
Check = Callable[[], None]
"""Raises ValueError once another machine may have taken over."""
Refuse = Callable[[str], str]
"""Who holds it -> the sentence of the ValueError."""


class FileLocks:
    """Of a store in a folder."""

    def __init__(self, store: Store) -> None:
        self._folder = store.root / "runs"

    @contextmanager
    def hold(self, name: str, refuse: Refuse, shared: bool = False) -> Iterator[Check]:
        """Raises ValueError if somebody else holds it."""
        with lock_file(self._path(name), f"process {os.getpid()}", refuse, shared):
            yield lambda: None

    def find_holder(self, name: str, shared: bool = False) -> str | None:
        """Who holds it; `shared`: only if alone."""
        return find_file_holder(self._path(name), shared=shared)

    def list_names(self) -> set[str]:
        """All that were ever held."""
        return {path.stem for path in self._folder.glob("[!.]*.lock")}

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


class BucketLocks(FileLocks):
    """Of a store in a bucket."""

    def __init__(self, store: RemoteStore) -> None:
        super().__init__(store)
        self._store = store

    @contextmanager
    def hold(self, name: str, refuse: Refuse, shared: bool = False) -> Iterator[Check]:
        with super().hold(name, refuse, shared) as check:
            if shared:  # who wants it alone takes the lease, and then looks for runs
                if holder := self._find_elsewhere(name):
                    raise ValueError(refuse(holder))
                yield check
                return
            with hold_lease(self._store.remote, _lease(name), self._store.machine) as lease:
                if lease is None:
                    holder = self._find_elsewhere(name) or "another machine"
                    raise ValueError(refuse(f"{holder}; if that machine died, wait a minute"))
                yield lease.check

    def find_holder(self, name: str, shared: bool = False) -> str | None:
        here = super().find_holder(name, shared)
        return here if here is not None else self._find_elsewhere(name)

    def list_names(self) -> set[str]:
        leases = self._store.list_files("runs", ".lease")
        return super().list_names() | {Path(lease).stem for lease in leases}

    def _find_elsewhere(self, name: str) -> str | None:
        return find_holder(self._store.remote, _lease(name), self._store.machine)


def _lease(name: str) -> str:
    return f"runs/{name}.lease"


def _locks_of(store: Store) -> FileLocks:
    return BucketLocks(store) if isinstance(store, RemoteStore) else FileLocks(store)


@contextmanager
def lock_name(store: Store, name: str) -> Iterator[Check]:
    """Be the run of a name; raises ValueError if another process is."""
    locks = _locks_of(store)

    def refuse(holder: str) -> str:
        return (
            f"a run of {name!r} is going on in {store.place} ({holder}); wait until it has ended, "
            "or start this one under another name with --set name=..."
        )

    with share_store(store), locks.hold(name, refuse) as check:
        if holder := locks.find_holder(ALL, shared=True):  # it may have looked for runs before
            raise ValueError(_refuse_beside_gc(store, holder))
        yield check


@contextmanager
def share_store(store: Store) -> Iterator[None]:
    """Keep `perpo gc` away; raises ValueError while it is at work."""
    locks = _locks_of(store)
    with locks.hold(ALL, lambda holder: _refuse_beside_gc(store, holder), shared=True):
        yield


def _refuse_beside_gc(store: Store, holder: str) -> str:
    return f"perpo gc is at work in {store.place} ({holder}); try again when it has ended"


@contextmanager
def lock_store(store: Store) -> Iterator[None]:
    """Hold the whole store alone; raises ValueError while anything runs in it."""

    def refuse(holder: str) -> str:
        _refuse_beside_runs(store)
        return f"another perpo command is going on in {store.place}; wait until it has ended"

    _refuse_beside_runs(store)  # before it keeps anybody away
    with _locks_of(store).hold(ALL, refuse):
        _refuse_beside_runs(store)
        yield


def _refuse_beside_runs(store: Store) -> None:
    if running := list_locked(store):
        raise ValueError(
            f"a run of {running[0]!r} is going on in {store.place}; wait until it has ended"
        )


def list_locked(store: Store) -> list[str]:
    """The names whose run is going on now."""
    return [name for name in sorted(_locks_of(store).list_names()) if is_locked(store, name)]


def is_locked(store: Store, name: str) -> bool:
    """Whether a process is running this configuration now."""
    return _locks_of(store).find_holder(name) is not None


@contextmanager
def lock_artifact(
    store: Store, kind: str, key: str, say_waiting: Callable[[], None]
) -> Iterator[None]:
    """Be the one that makes an artifact; waits as long as it takes, and says so once."""
    with wait_for_file(store.folder(kind, key) / LOCK_FILE, say_waiting):
        yield


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file alone; waits, so only for work of milliseconds."""
    with wait_for_file(path, lambda: None):
        yield


@contextmanager
def lock_file(path: Path, own: str, refuse: Refuse, shared: bool = False) -> Iterator[None]:
    """Hold the lock of a file, with `own` as its content if alone; raises ValueError if taken."""
    with hold_file(path, "" if shared else own, shared=shared) as held:
        if not held:
            holder = find_file_holder(path, shared=shared)
            raise ValueError(refuse(holder or "unknown"))
        yield


def read_holder(path: Path) -> str | None:
    """What the process that holds a file's lock wrote into it; None if none does."""
    return find_file_holder(path)
