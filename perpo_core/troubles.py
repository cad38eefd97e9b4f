"""A full disk and a lack of memory: recognised, and put into one sentence.

A child that meets either ends with what its library says, so its last lines are searched. On a
full disk the log itself may be cut short: then what is free there tells.
"""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_BYTES = 1 << 20  # less than any stage writes at once
DISK = re.compile(
    r"No space left on device|Disk quota exceeded|PytorchStreamWriter failed writing file"
    r"|inline_container\.cc\S* \. unexpected pos"  # torch.save, closing what it could not write
)
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


def met_full_disk(last_text: str, folder: Path) -> bool:
    """Whether a process that ended so, writing below the folder, most likely met a full disk."""
    return bool(DISK.search(last_text)) or shutil.disk_usage(folder).free < FULL_BYTES


def met_lack_of_memory(last_text: str) -> bool:
    """Whether a process that ended so lacked memory, of the machine or of a GPU."""
    return bool(MEMORY.search(last_text))
