"""Files that are there whole or not at all: a temporary name, fsync, rename."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
LEFTOVER_AGE_S = 24 * 3600  # no stage takes this long over one file


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content, the new content, or nothing."""
    with temporary_beside(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A file to write that takes the path's place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=TEMPORARY_PREFIX, suffix=path.name[-20:]
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove half-written files of killed runs; young ones may be another process's, and stay."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(FileNotFoundError):  # its writer may finish between the listing and the look
            if time.time() - path.stat().st_mtime > LEFTOVER_AGE_S:
                path.unlink()
