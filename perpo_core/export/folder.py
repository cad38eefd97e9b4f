"""A folder that appears whole or not at all, with every copied byte checked on the way.

Files are written into a hidden folder beside the final one, which is then renamed. A killed export
leaves at most that hidden folder; the next export to the same name removes it once it is old.
"""

from __future__ import annotations

import glob
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perpo_core.store.atomic import TEMPORARY_PREFIX, sync_tree
from perpo_core.store.keys import BLOCK_BYTES, hash_file
from schemas.artifact import FileRef

LEFTOVER_AGE_S = 24 * 3600  # no export takes this long


@dataclass(frozen=True)
class FileCopy:
    """One file to copy: where it lies, what it must be, and its name in the new folder."""

    source: Path
    expected: FileRef
    name: str


def write_folder(
    folder: Path,
    copies: Sequence[FileCopy],
    texts: dict[str, str],
    make: Callable[[Path], None] = lambda folder: None,
    made_bytes: int = 0,
) -> None:
    """Copy the files and write the texts, which take precedence; then show the folder.

    `make` adds what is no file yet, about `made_bytes` of it. Raises ValueError, one sentence,
    where the folder cannot be made or a file is not as recorded.
    """
    wanted = [copy for copy in copies if copy.name not in texts]
    size = made_bytes + sum(copy.expected.num_bytes for copy in wanted)
    with appearing(folder, size) as temporary:
        for copy in wanted:
            _copy_checked(copy, temporary / copy.name)
        make(temporary)
        sync_tree(temporary)
        for name, text in texts.items():
            _write_synced(temporary / name, text.encode())


@contextmanager
def appearing(folder: Path, num_bytes: int) -> Iterator[Path]:
    """A hidden folder that takes its place when the block ends well.

    Raises ValueError, one sentence, where a folder of that size cannot be put there.
    """
    check_target(folder, num_bytes)
    prefix = f"{TEMPORARY_PREFIX}{folder.name}-"
    _remove_leftovers(folder.parent, prefix)
    temporary = folder.parent / f"{prefix}{secrets.token_hex(8)}"
    temporary.mkdir()
    try:
        yield temporary
        temporary.rename(folder)  # onto nothing, or onto an empty folder
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_target(folder: Path, num_bytes: int) -> None:
    """Make its parent; raise ValueError unless a folder of that size can be put there."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder that does not exist yet")
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; name a folder that does not exist yet")
    if os.path.ismount(folder):
        raise ValueError(f"{folder} is a mount point and cannot be replaced; name a folder in it")
    folder.parent.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(folder.parent).free
    if free_bytes < num_bytes:
        raise ValueError(
            f"{folder} needs {num_bytes / 1e9:.1f} GB and {free_bytes / 1e9:.1f} GB are free "
            "there; make room or name another place"
        )


def read_checked(copy: FileCopy) -> bytes:
    """A small file's content; raises ValueError unless it is as recorded."""
    if not copy.source.is_file():
        raise ValueError(_explain_damage(copy, "is missing"))
    content = copy.source.read_bytes()
    if hashlib.sha256(content).hexdigest() != copy.expected.sha256:
        raise ValueError(_explain_damage(copy, "is damaged"))
    return content


def check_copy(copy: FileCopy) -> None:
    """Raise ValueError unless a file that is read where it lies is as recorded."""
    if not copy.source.is_file():
        raise ValueError(_explain_damage(copy, "is missing"))
    if hash_file(copy.source) != copy.expected.sha256:
        raise ValueError(_explain_damage(copy, "is damaged"))


def _copy_checked(copy: FileCopy, target: Path) -> None:
    """Copy and hash in one pass, so that what was checked is what was written."""
    if not copy.source.is_file():
        raise ValueError(_explain_damage(copy, "is missing"))
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with copy.source.open("rb") as source, target.open("wb") as written:
        while block := source.read(BLOCK_BYTES):
            digest.update(block)
            written.write(block)
        written.flush()
        os.fsync(written.fileno())
    if digest.hexdigest() != copy.expected.sha256:
        raise ValueError(_explain_damage(copy, "is damaged"))


def _explain_damage(copy: FileCopy, what: str) -> str:
    return (
        f"{copy.source} {what}, so nothing was exported; make it again with "
        "`perpo rerun RUN --from train`"
    )


def _write_synced(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())


def _remove_leftovers(parent: Path, prefix: str) -> None:
    """Of killed exports to the same name; young ones may be another process's, and stay."""
    for path in parent.glob(f"{glob.escape(prefix)}*"):
        if time.time() - path.stat().st_mtime > LEFTOVER_AGE_S:
            shutil.rmtree(path, ignore_errors=True)
