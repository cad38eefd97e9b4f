"""The sha256 of large files that were hashed before and that nobody has touched since.

A night over a hundred thousand photos would otherwise read all of them, and all the store's packs,
to find that they are what they were. As git's index does, a file counts as untouched where its
size, inode, time of modification and time of change are those it was hashed under; the last one
no program sets. What was written in the moments before it was hashed is hashed again, since the
clock may not tell two writes apart, and so is everything after RENEW_S: disks forget.

What is known lies in PERPO_CACHE, not in a store: it is about this machine's files. It may be
deleted at any time, and where it cannot be written every file is hashed.
"""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from perpo_core.store.keys import hash_file
from perpo_core.store.left_out import leave_out
from perpo_core.store.place import CACHE, find_cache

FILE = "digests-1.sqlite"
SMALL_BYTES = 32 << 10  # hashed sooner than looked up
SETTLED_S = 2.0
RENEW_S = 7 * 24 * 3600
KEEP_EVERY = 1024  # files: what a kill may cost
BUSY_S = 5.0
TABLE = (
    "CREATE TABLE IF NOT EXISTS files"
    " (path TEXT PRIMARY KEY, stamp TEXT, hashed_s REAL, sha256 TEXT) WITHOUT ROWID"
)
FIND = "SELECT stamp, hashed_s, sha256 FROM files WHERE path = ?"
NOTE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)"
FORGET = "DELETE FROM files WHERE hashed_s < ?"


def hash_untouched(path: str | Path, status: os.stat_result | None = None) -> str:
    """sha256 of a file's bytes, which are read unless it is known.

    `status` is os.stat of the file, by who has asked a moment ago.
    """
    status = status or os.stat(path)
    if status.st_size < SMALL_BYTES:
        return hash_file(path)
    return _open(os.environ.get(CACHE), os.getpid()).hash(os.path.abspath(path), status)


def hash_written(path: Path) -> str:
    """sha256 of a file that this process has just put there whole: nobody else writes to it."""
    status = os.stat(path)
    if status.st_size < SMALL_BYTES:
        return hash_file(path)
    return _open(os.environ.get(CACHE), os.getpid()).hash_new(os.path.abspath(path), status)


@cache
def _open(place: str | None, process: int) -> KnownDigests:
    """Of this process: a connection does not outlive a fork."""
    del place, process
    known = KnownDigests(find_cache() / FILE)
    atexit.register(known.keep)
    return known


class KnownDigests:
    """Digests by path and stamp, for several threads; other processes have the file open too."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()
        self._noted: list[tuple[str, str, float, str]] = []
        self._database: sqlite3.Connection | None = None
        with self._lock, self._trying():
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, timeout=BUSY_S, check_same_thread=False)
            self._database.execute(TABLE)

    def hash(self, path: str, status: os.stat_result) -> str:
        """sha256 of the file at an absolute path whose status was just asked for."""
        stamp, now_s = _stamp(status), time.time()
        if (known := self._find(path, stamp, now_s)) is not None:
            return known
        found = hash_file(path)
        if now_s - max(status.st_mtime, status.st_ctime) > SETTLED_S:
            self._note(path, stamp, now_s, found)
        return found

    def hash_new(self, path: str, status: os.stat_result) -> str:
        """The same of a file that no clock is needed for."""
        found = hash_file(path)
        self._note(path, _stamp(status), time.time(), found)
        return found

    def keep(self) -> None:
        """Have what was learnt on the disk."""
        with self._lock:
            self._write()

    def _find(self, path: str, stamp: str, now_s: float) -> str | None:
        if self._database is None:
            return None
        row = None
        with self._lock, self._trying():
            row = self._database.execute(FIND, (path,)).fetchone()
        if row is None or row[0] != stamp or not 0 <= now_s - row[1] < RENEW_S:
            return None
        return str(row[2])

    def _note(self, path: str, stamp: str, now_s: float, found: str) -> None:
        """Of a file that was touched meanwhile too: it never has that stamp again."""
        with self._lock:
            self._noted.append((path, stamp, now_s, found))
            if len(self._noted) >= KEEP_EVERY:
                self._write()

    def _write(self) -> None:
        with self._trying():
            if self._database is not None and self._noted:
                with self._database:
                    self._database.executemany(NOTE, self._noted)
                    self._database.execute(FORGET, (time.time() - RENEW_S,))
        self._noted.clear()

    @contextmanager
    def _trying(self) -> Iterator[None]:
        """Where the file cannot be used, all goes on without, slower, and it is said."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            leave_out(str(self._file), f"{error}; files that are known are hashed again")
            self._database = None


def _stamp(status: os.stat_result) -> str:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return ":".join(map(str, (status.st_dev, status.st_ino, status.st_size, *times)))
