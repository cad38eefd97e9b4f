"""What the system refuses, a full disk and a lack of memory: recognised, put into one sentence.

A child that meets either ends with what its library says, so its last lines are searched. On a
full disk the log itself may be cut short: then what is free there tells.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
ADVICE = {
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "a part of the path is no folder; correct it",
    errno.EISDIR: "name a file",
    errno.EROFS: "name a path on a disk that can be written to",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "links in it point at each other; correct them",
    errno.EMFILE: "raise `ulimit -n` and give the same command again",
    errno.ENOTEMPTY: "name another folder, or empty it",
}
FULL_BYTES = 1 << 20  # less than any stage writes at once
DISK = re.compile(
    r"No space left on device|Disk quota exceeded|PytorchStreamWriter failed writing file"
    r"|inline_container\.cc\S* \. unexpected pos"  # torch.save, closing what it could not write
)
SYSTEM_NUMBER = re.compile(r"\[Errno -?\d+\] ")
MEMORY = re.compile(
    r"OutOfMemoryError|CUDA out of memory|^(\w+\.)*(Arrow|ArrayMemory|Memory)\w*Error\b"
    r"|can't allocate memory|Cannot allocate memory|std::bad_alloc|Signal 9 \(SIGKILL\)"
    r"|No available memory for the cache blocks|less than desired GPU memory utilization",
    re.MULTILINE,
)


class DiskFull(ValueError):
    """The disk of a store is full; the message says where, and what to do."""


def build_disk_full(path: Path) -> DiskFull:
    """The error of what could not write to a path."""
    return DiskFull(
        f"the disk is full, {path} could not be written; make room there (`perpo gc --delete` "
        "removes what no kept run rests on) or change store, then give the same command again: "
        "what is finished stays and is reused"
    )


@contextmanager
def explaining_full_disk(path: Path) -> Iterator[None]:
    """What is raised inside for want of space becomes DiskFull, naming the path."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise build_disk_full(path) from error


def describe_os_error(error: OSError) -> str:
    """One sentence for what the system refused: the path, why, and what to do."""
    if error.errno is None or error.strerror is None:  # a library's own words
        return str(error)
    if error.filename is None:
        return f"{error.strerror.lower()}; look into it and give the same command again"
    path = Path(os.fsdecode(error.filename))
    if error.errno in FULL:
        return str(build_disk_full(path))
    if isinstance(error, PermissionError):
        return f"{path} {describe_owner(path)}; ask for the right to it, or name another path"
    advice = ADVICE.get(error.errno, "correct the path, or look into it")
    return f"{path}: {error.strerror.lower()}; {advice}"


def explain(error: Exception) -> str:
    """An error's sentence; of what the system refused in our words, without its numbers."""
    sentence = describe_os_error(error) if isinstance(error, OSError) else str(error)
    return SYSTEM_NUMBER.sub("", sentence)


def describe_owner(path: Path) -> str:
    """Such as "belongs to anna and is closed to ben", of a path or the nearest that exists."""
    while not os.path.lexists(path):
        path = path.parent
    with suppress(OSError):  # a folder above it is closed too
        if (owner := path.stat().st_uid) != os.geteuid():
            return f"belongs to {_name_user(owner)} and is closed to {_name_user(os.geteuid())}"
    return f"is closed to {_name_user(os.geteuid())}"


def _name_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def met_full_disk(last_text: str, folder: Path) -> bool:
    """Whether a process that ended so, writing below the folder, most likely met a full disk."""
    return bool(DISK.search(last_text)) or shutil.disk_usage(folder).free < FULL_BYTES


def met_lack_of_memory(last_text: str) -> bool:
    """Whether a process that ended so lacked memory, of the machine or of a GPU."""
    return bool(MEMORY.search(last_text))


def find_write_obstacle(folder: Path) -> str | None:
    """What keeps a folder from being written to, or made, in words; None if nothing does.

    Looks at the folder, or at the nearest one that there is, and makes nothing.
    """
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} cannot be written to: it is a file"
    if folder.is_relative_to("/proc") or not os.access(folder, os.W_OK | os.X_OK):
        return f"{folder} cannot be written to: it {describe_owner(folder)}"
    return None
