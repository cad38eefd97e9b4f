"""Whether what a stage reads is still what its key says: others may replace its files meanwhile.

A key holds the content of data, images and model folders, and the work opens them later, for hours
and in other processes. Data and images are hashed as they are read
(perpo_core/stages/collect/sources/rows_source.py). A model folder is too large for that: size,
inode and time of each of its files are noted when it is hashed, and compared once it is loaded and
before anything is committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perpo_core.process.parent import ChildFailed
from perpo_core.store.keys import hash_folder
from perpo_core.store.known_digests import hash_untouched
from schemas.run import FileStamp, PolicyRef


class InputChanged(ValueError):
    """A file is no longer what the key was computed from; the message names it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} changed while it was read; run again")


def refer_to(folder: Path, digest: str | None = None, base: PolicyRef | None = None) -> PolicyRef:
    """A policy's folder with the stamps of its files; `digest` if it was verified a moment ago.

    `base` is what its adapter goes onto, which perpo_core/policy/resolve.py finds.
    """
    stamps = stamp_files(folder)  # before the content is read: what changes meanwhile is noticed
    digest = digest or hash_folder(folder, hash_untouched)
    return PolicyRef(digest=digest, folder=folder, stamps=stamps, base=base)


def stamp_files(folder: Path) -> tuple[FileStamp, ...]:
    """Name, size in bytes, inode and time of change in ns of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = [(path.relative_to(folder).as_posix(), path.stat()) for path in files]
    return tuple((name, stat.st_size, stat.st_ino, stat.st_mtime_ns) for name, stat in found)


def require_unchanged(*policies: PolicyRef) -> None:
    """Raise InputChanged if a file of a policy is not the one whose content was hashed.

    Those of the weights that its adapter goes onto count as its own.
    """
    both = [each for policy in policies for each in (policy, policy.base) if each]
    for policy in both:
        if policy.stamps and (now := stamp_files(policy.folder)) != policy.stamps:
            name = min(stamp[0] for stamp in set(now) ^ set(policy.stamps))
            raise InputChanged(policy.folder / name)


@contextmanager
def unchanged(*policies: PolicyRef) -> Iterator[None]:
    """Nothing done inside counts, and no failure is anything else's fault, if a policy changed."""
    try:
        yield
    except (ChildFailed, OSError, ValueError):
        require_unchanged(*policies)
        raise
    require_unchanged(*policies)
