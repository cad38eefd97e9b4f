"""Where a store is: a folder, or an address such as s3://bucket/prefix.

What code reads and writes are local files in either case. Of a store at an address they lie in a
working copy: a folder of PERPO_CACHE (default ~/.cache/perpo), one for each address. It may be
deleted while nothing runs; what is lost are the checkpoints of a training that was going on.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from perpo_core.process.troubles import find_write_obstacle

CACHE = "PERPO_CACHE"
DEFAULT_CACHE = "~/.cache/perpo"
EMPTY = 'store is empty; name a folder or s3://bucket/prefix (`store = "."` is this folder)'
Place = Path | str
"""A folder, or an address as text: as a Path it would lose a slash."""


def parse_place(place: Place) -> Place:
    """A folder as a Path, an address as text without a slash at its end.

    Raises ValueError for an address that has lost a slash, and for no text at all.
    """
    text = str(place)
    if not text.strip():
        raise ValueError(EMPTY)
    if is_address(text):
        return text.rstrip("/")
    if re.match("[a-z][a-z0-9+]+:/", text):
        raise ValueError(f"store = {text}: an address has two slashes, such as s3://bucket/prefix")
    return Path(place)


def is_address(place: Place) -> bool:
    """Whether it is no folder."""
    return isinstance(place, str) and "://" in place


def find_folder(place: Place) -> Path:
    """The folder of a store, absolute: its own, or the working copy of one at an address."""
    place = parse_place(place)
    if isinstance(place, Path):
        return place.absolute()
    readable = re.sub("[^A-Za-z0-9]+", "-", place.partition("://")[2])[:40]
    name = f"{readable}-{hashlib.sha256(place.encode()).hexdigest()[:12]}"
    return find_cache() / name


def find_cache() -> Path:
    """This machine's folder for what may be deleted: working copies, and what is known of files."""
    return Path(os.environ.get(CACHE) or DEFAULT_CACHE).expanduser().absolute()


def require_store(place: Place) -> None:
    """Raise ValueError, one sentence, unless there is a folder to read from; makes none."""
    folder = parse_place(place)
    if isinstance(folder, Path) and not os.path.isdir(folder):
        why = "it is a file" if os.path.lexists(folder) else "there is no such folder"
        raise ValueError(
            f"there is no run in {folder.absolute()}, {why}; name the right store with --store, or "
            "start a run with `perpo refresh`"
        )


def find_obstacle(place: Place) -> str | None:
    """What keeps a store from being written here, in words; None if nothing does."""
    obstacle = find_write_obstacle(find_folder(place))
    return f"{obstacle}; change store" if obstacle else None


def require_writable(place: Place) -> None:
    """Raise ValueError, one sentence, where find_obstacle finds one."""
    if obstacle := find_obstacle(place):
        raise ValueError(f"store: {obstacle}")


def load_machine_id(folder: Path) -> str:
    """What tells a working copy from those of other machines: made once, at random."""
    path = folder / ".machine"
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), NamedTemporaryFile("w", dir=folder) as made:
        made.write(uuid.uuid4().hex)
        made.flush()
        os.link(made.name, path)  # whole or not at all, and only one of several at once
    return path.read_text()


def describe_place(place: Place) -> str:
    """An address, or the whole path of a folder: what other processes are told."""
    place = parse_place(place)
    return place if isinstance(place, str) else str(place.absolute())
