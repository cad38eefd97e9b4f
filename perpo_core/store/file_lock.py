"""A file's lock: held alone or shared, seen without being taken, freed when its holder ends.

Open file description locks (fcntl(2)), which Linux alone has. A look at one takes nothing, unlike a
try with flock. NFS hands them on to its server, so that machines see each other's. They go with the
descriptor, while POSIX's older ones go with any that the process closes. Held alone, they want a
descriptor that is open for writing, here as on NFS; so a folder has none. Descriptors are closed in
programs that the holder starts, so nothing that outlives it keeps them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perpo_core.process.troubles import describe_owner

POLL_S = 0.1  # a wait in short steps can be cancelled in between
FLOCK = "hhqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length (0: all), process
NO_LOCKS = (errno.ENOLCK, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Whether the open file is locked now, alone or with others that share it; never waits."""
    try:
        _call(descriptor, fcntl.F_OFD_SETLK, shared)
    except BlockingIOError:
        return False
    return True


def is_taken(descriptor: int, *, shared: bool = False) -> bool:
    """Whether try_lock would fail; takes nothing, and a descriptor for reading is enough."""
    return _call(descriptor, fcntl.F_OFD_GETLK, shared) != fcntl.F_UNLCK


def _call(descriptor: int, command: int, shared: bool) -> int:
    """The lock's type in the answer; raises ValueError where a file system has no locks."""
    kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
    try:
        answer = fcntl.fcntl(descriptor, command, struct.pack(FLOCK, kind, os.SEEK_SET, 0, 0, 0))
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        raise ValueError(
            f"{os.readlink(f'/proc/self/fd/{descriptor}')} cannot be locked "
            f"({os.strerror(error.errno)}); put the store on a disk of this machine, an NFS mount "
            "with locks, or into a bucket"
        ) from error
    return int(struct.unpack(FLOCK, answer)[0])


@contextmanager
def hold_file(path: Path, own: str = "", *, shared: bool = False) -> Iterator[bool]:
    """Hold the file's lock if it is free, with `own` as its content; whether it is held."""
    descriptor = _take(path, shared)
    if descriptor is None:
        yield False
        return
    try:
        if own:  # written at once: who looks meanwhile reads the old first line or the new one
            line = f"{own}\n".encode()
            os.pwrite(descriptor, line, 0)
            os.ftruncate(descriptor, len(line))
        yield True
    finally:
        os.close(descriptor)


@contextmanager
def wait_for_file(path: Path, say_waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the file's lock alone; waits as long as it takes, and says so once."""
    said = False
    while (descriptor := _take(path, shared=False)) is None:
        if not said:
            say_waiting()
            said = True
        time.sleep(POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)


def _take(path: Path, shared: bool) -> int | None:
    """A descriptor that holds the lock until it is closed; None if somebody else has it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        taken = try_lock(descriptor, shared=shared)
        if taken and is_same_file(descriptor, path):
            return descriptor
        os.close(descriptor)
        if not taken:
            return None


def is_same_file(descriptor: int, path: Path) -> bool:
    """Whether the path still leads to what was opened: a lock on what was removed keeps no one."""
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)


def find_file_holder(path: Path, *, shared: bool = False) -> str | None:
    """What the process that holds a file's lock wrote into it; None if none does.

    `shared`: only who keeps out those that would share it. A file that is closed to this user may
    be held by anybody; whose it is is said instead.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        return f"unknown: {path} {describe_owner(path)}"
    try:
        if not is_taken(descriptor, shared=shared):
            return None
        return os.pread(descriptor, 4096, 0).decode(errors="replace").partition("\n")[0]
    finally:
        os.close(descriptor)
