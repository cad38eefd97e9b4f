"""Files that are there whole or not at all: a temporary name, fsync, rename, fsync of the folder.

After a power cut the disk has a rename only if its folder was synced too.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from perpo_core.process.troubles import explaining_full_disk
from perpo_core.store.file_lock import is_same_file, try_lock

TEMPORARY_PREFIX = ".tmp-"


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content, the new content, or nothing."""
    with temporary_beside(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A file that becomes `path` when the block ends well; raises DiskFull where it cannot."""
    with explaining_full_disk(path):
        make_folder(path.parent)
        held, temporary = _create_temporary(path)
        try:
            yield temporary
            sync(temporary)
            temporary.replace(path)
            sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(held)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each so that it is still there after a power cut."""
    missing = [each for each in (folder, *folder.parents) if not each.is_dir()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync(made.parent)


def sync_upwards(folder: Path, root: Path) -> None:
    """Have a folder on the disk, and those above it up to a root, whoever made them."""
    make_folder(folder)
    for each in (folder, *folder.parents):
        sync(each)
        if each == root:
            return


def sync_tree(folder: Path) -> None:
    """Have everything below a folder on the disk, whoever wrote it; none may be there."""
    for path in (*folder.rglob("*"), folder, folder.parent):
        if path.is_file() or path.is_dir():
            sync(path)


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _create_temporary(path: Path) -> tuple[int, Path]:
    """An open, locked descriptor and the file's path: while it is locked nobody removes it.

    Its permissions are those of any new file here: the umask's, or the folder's own.
    """
    while True:
        name = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.name[-20:]}"
        temporary = path.parent / name
        held = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if try_lock(held) and is_same_file(held, temporary):  # else just taken for a leftover
            return held, temporary
        os.close(held)


def remove_leftovers(folder: Path) -> None:
    """Remove half-written files of killed runs: those whose writer no longer holds their lock."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        # Its writer may finish between the listing and the look, or be another user.
        with suppress(FileNotFoundError, PermissionError), path.open("r+b") as left:
            if try_lock(left.fileno()):
                path.unlink()
