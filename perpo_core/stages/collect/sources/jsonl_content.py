"""What a JSON Lines source held when its key was computed, and whether that is what is read now.

Files and images are hashed as they are read, so that nothing else is ever collected under a key:
somebody may be writing them. What a row says is perpo_core/stages/collect/sources/jsonl_row.py.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError
from perpo_core.policy.stamps import InputChanged
from perpo_core.stages.collect.sources.jsonl_keys import parse_json
from perpo_core.stages.collect.sources.jsonl_row import ImageFolder
from perpo_core.stages.collect.sources.rows import KnownImages
from perpo_core.store.known_digests import hash_untouched
from perpo_core.vision.brightness import Brightness
from perpo_core.vision.images import ImageError, StoredImage


@dataclass(frozen=True)
class LoadedImage:
    """One image file, ready for the store or only looked at, and the sha256 of its bytes."""

    stored: StoredImage
    file_hash: str
    brightness: Brightness | None = None
    """Where the image is only looked at."""


UNNAMED = ""  # the split of a row that names none
Content = tuple[str, dict[str, str | None], list[str]]
"""sha256 of a file's lines, and of each image that it names, None where there is none; and what
its rows say of their split."""


@dataclass(frozen=True)
class Place:
    """A row: its file, its number from 1, and what the file held when its key was computed."""

    file: Path
    number: int
    content: Content | None
    folder: ImageFolder
    """Of the file."""

    def __str__(self) -> str:
        return f"{self.file} row {self.number}"

    @property
    def row(self) -> str:
        """The same wherever the folder lies."""
        return f"{self.file.parent.name}/{self.file.name}:{self.number}"


def iterate_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """(row number from 1, line) of every line that is not blank."""
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file; correct source.files")
    with file.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")  # Windows editors put it there
            if line.strip():
                yield number, line


def _hash_lines(file: Path) -> str:
    digest = hashlib.sha256()
    for _, line in iterate_lines(file):
        digest.update(line)
    return digest.hexdigest()


def _hash_image(path: str | Path) -> str | None:
    """None where there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return hash_untouched(path, status) if stat.S_ISREG(status.st_mode) else None


def hash_content(file: Path) -> Content:
    """A file's sha256 with those of its images by name; a row that names none adds nothing."""
    digest, folder = hashlib.sha256(), ImageFolder(file.parent)
    images: dict[str, str | None] = {}
    said: set[str] = set()
    for number, line in iterate_lines(file):
        digest.update(line)
        try:
            raw = parse_json(line, f"{file} row {number}")
            said.add(say_split(raw))
            path = folder.find(raw, f"{file} row {number}")
        except RowError:
            continue  # the row is refused or set aside for what the file itself says
        if raw["image"] not in images:
            images[raw["image"]] = _hash_image(path)
    return digest.hexdigest(), images, sorted(said)


def say_split(raw: dict[str, Any]) -> str:
    """What a row says of its split, right or wrong."""
    split = raw.get("split")
    return UNNAMED if split is None else str(split)


def iterate_rows(files: list[Path], identity: Any = None) -> Iterator[tuple[Place, bytes]]:
    """Every row of all files; raises InputChanged after a file that is not what it was."""
    known = identity["files"] if identity else [None] * len(files)
    for file, content in zip(files, known, strict=True):
        digest, num_lines, folder = hashlib.sha256(), 0, ImageFolder(file.parent)
        for number, line in iterate_lines(file):
            num_lines += 1
            digest.update(line)
            yield Place(file, number, content, folder), line
        if content and digest.hexdigest() != content[0]:
            raise InputChanged(file)
        if not num_lines:
            raise ValueError(f"{file}: the file has no rows; write one JSON object a line")


def require_same_lines(place: Place) -> None:
    """A bad row may be half of what somebody is writing."""
    if place.content and _hash_lines(place.file) != place.content[0]:
        raise InputChanged(place.file)


def find_known(raw: dict[str, Any], place: Place) -> Path:
    """Where the row's image lies; raises InputChanged if the identity says otherwise."""
    file, content = place.file, place.content
    try:
        path = Path(place.folder.find(raw, str(place)))
    except RowError as error:
        name = raw.get("image")
        if content and isinstance(name, str) and name in content[1]:  # a link that leads elsewhere
            raise InputChanged(file.parent / name) from error
        raise
    if content and raw["image"] not in content[1]:
        raise InputChanged(file)
    return path


@dataclass(frozen=True)
class Loading:
    """Gets an image by its content: from a file that is what the identity says, or not at all."""

    load_path: Callable[[Path, str], LoadedImage]
    known: KnownImages

    def load(self, path: Path, place: Place, name: str) -> LoadedImage:
        """The image that a row calls `name`; raises InputChanged for a file that is another now.

        Raises ImageError for one that cannot be used.
        """
        expected = place.content[1][name] if place.content else None
        if expected is not None and expected in self.known:
            return LoadedImage(self.known[expected], expected)
        try:
            image = self.load_path(path, str(place))
        except (ImageError, OSError):
            _require_same(place, path, expected, _hash_image(path))
            raise
        _require_same(place, path, expected, image.file_hash)
        return image


def _require_same(place: Place, path: Path, expected: str | None, found: str | None) -> None:
    if place.content and found != expected:
        raise InputChanged(path)
