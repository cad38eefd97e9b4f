"""Files that are there whole or not at all: a temporary name, fsync, rename."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perpo_core.locks import try_lock
from perpo_core.troubles import explaining_full_disk

TEMPORARY_PREFIX = ".tmp-"


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content, the new content, or nothing."""
    with temporary_beside(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A file that becomes `path` when the block ends well; raises DiskFull where it cannot."""
    with explaining_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        held, temporary = _create_temporary(path)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(held)


def _create_temporary(path: Path) -> tuple[int, Path]:
    """An open, locked descriptor and the file's path: while it is locked nobody removes it."""
    while True:
        held, name = tempfile.mkstemp(
            dir=path.parent, prefix=TEMPORARY_PREFIX, suffix=path.name[-20:]
        )
        if try_lock(held) and os.path.exists(name):  # else just taken for a leftover
            return held, Path(name)
        os.close(held)


def remove_leftovers(folder: Path) -> None:
    """Remove half-written files of killed runs: those whose writer no longer holds their lock."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        # Its writer may finish between the listing and the look.
        with suppress(FileNotFoundError), path.open("rb") as left:
            if try_lock(left.fileno()):
                path.unlink()
