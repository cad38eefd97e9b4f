"""What a source of files held when its key was computed, and whether that is what is read now.

Files and images are hashed as they are read, so that nothing else is ever collected under a key:
somebody may be writing them. What a row says is perpo_core/stages/collect/sources/jsonl_row.py.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError
from perpo_core.policy.stamps import InputChanged
from perpo_core.stages.collect.sources.formats import FORMATS
from perpo_core.stages.collect.sources.formats.line import Line
from perpo_core.stages.collect.sources.jsonl_keys import parse_json
from perpo_core.stages.collect.sources.jsonl_names import (
    ImageFolder,
    decode_data_url,
    is_data_url,
    list_names,
)
from perpo_core.stages.collect.sources.jsonl_truths import list_variants
from perpo_core.stages.collect.sources.rows import KnownImages
from perpo_core.store.known_digests import hash_untouched
from perpo_core.vision.brightness import Brightness
from perpo_core.vision.images import ImageError, StoredImage
from schemas.sources import RowsSource


@dataclass(frozen=True)
class LoadedImage:
    """One image file, ready for the store or only looked at, and the sha256 of its bytes."""

    stored: StoredImage
    file_hash: str
    brightness: Brightness | None = None
    """Where the image is only looked at."""


UNNAMED = ""  # the split of a row that names none
Content = tuple[str, dict[str, str | None], list[str]]
"""sha256 of a file's lines, and of each image file that it names, None where there is none; and
what its rows say of their split."""


@dataclass(frozen=True)
class Place:
    """A row: its file, its label, and what the file held when its key was computed."""

    file: Path
    label: str
    content: Content | None
    folder: ImageFolder
    """Of the file's images."""
    truth: int | None = None
    """Which of the row's truths, from 0, where each is a sample of its own."""

    def __str__(self) -> str:
        return f"{self.file} {self.label}"

    @property
    def row(self) -> str:
        """The same wherever the folder lies."""
        truth = "" if self.truth is None else f".{self.truth + 1}"
        label = self.label.removeprefix("row ")
        return f"{self.file.parent.name}/{self.file.name}:{label}{truth}"

    def parse(self, line: Line) -> dict[str, Any]:
        """The row that stands here. Raises RowError."""
        if isinstance(line.content, RowError):
            raise type(line.content)(line.content.reason, f"{self}: {line.content}")
        raw = parse_json(line.content, str(self))
        return raw if self.truth is None else list_variants(raw)[self.truth]


def iterate_lines(file: Path, config: RowsSource) -> Iterator[Line]:
    """The rows of a file in the source's format."""
    return FORMATS[config.kind](file, config)


def _hash_lines(file: Path, config: RowsSource) -> str:
    digest = hashlib.sha256()
    for line in iterate_lines(file, config):
        digest.update(line.raw)
    return digest.hexdigest()


def find_folder(file: Path, config: RowsSource) -> ImageFolder:
    """Where the images of a file's rows lie."""
    return ImageFolder(config.images or file.parent)


def _hash_image(path: str | Path) -> str | None:
    """None where there is no such file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return hash_untouched(path, status) if stat.S_ISREG(status.st_mode) else None


def hash_content(file: Path, config: RowsSource) -> Content:
    """A file's sha256 with those of its images by name; a row that names none adds nothing."""
    digest, folder = hashlib.sha256(), find_folder(file, config)
    images: dict[str, str | None] = {}
    said: set[str] = set()
    for line in iterate_lines(file, config):
        digest.update(line.raw)
        with suppress(RowError):  # the row is refused or set aside for what the file itself says
            raw = Place(file, line.label, None, folder).parse(line)
            said.add(say_split(raw))
            for name in list_names(raw, line.label):
                if not is_data_url(name) and name not in images:
                    images[name] = _hash_image(folder.find(name, line.label))
    return digest.hexdigest(), images, sorted(said)


def say_split(raw: dict[str, Any]) -> str:
    """What a row says of its split, right or wrong."""
    split = raw.get("split")
    return UNNAMED if split is None else str(split)


def iterate_rows(config: RowsSource, identity: Any = None) -> Iterator[tuple[Place, Line]]:
    """Every row of all files, once for each of its truths where the source says so.

    Raises InputChanged after a file that is not what it was.
    """
    known = identity["files"] if identity else [None] * len(config.files)
    for file, content in zip(config.files, known, strict=True):
        digest, num_lines, folder = hashlib.sha256(), 0, find_folder(file, config)
        for line in iterate_lines(file, config):
            num_lines += 1
            digest.update(line.raw)
            place = Place(file, line.label, content, folder)
            places = _part(place, line) if config.several_truths == "each" else [place]
            yield from ((each, line) for each in places)
        if content and digest.hexdigest() != content[0]:
            raise InputChanged(file)
        if not num_lines:
            raise ValueError(f"{file}: the file has no rows; write one JSON object a line")


def _part(place: Place, line: Line) -> list[Place]:
    """The places of a row's truths; the row itself where it has one."""
    try:
        num_truths = len(list_variants(place.parse(line)))
    except RowError:
        num_truths = 1
    return [place] if num_truths == 1 else [replace(place, truth=n) for n in range(num_truths)]


def require_same_lines(place: Place, config: RowsSource) -> None:
    """A bad row may be half of what somebody is writing."""
    if place.content and _hash_lines(place.file, config) != place.content[0]:
        raise InputChanged(place.file)


def find_known(name: str, place: Place) -> Path:
    """Where an image file of the row lies; raises InputChanged if the identity says otherwise."""
    file, content = place.file, place.content
    try:
        path = Path(place.folder.find(name, str(place)))
    except RowError as error:
        if content and name in content[1]:  # a link that leads elsewhere
            raise InputChanged(file.parent / name) from error
        raise
    if content and name not in content[1]:
        raise InputChanged(file)
    return path


@dataclass(frozen=True)
class Loading:
    """Gets an image by its content: from a file that is what the identity says, or not at all."""

    load_one: Callable[[Path | bytes, str], LoadedImage]
    known: KnownImages

    def load(self, name: str, place: Place) -> LoadedImage:
        """The image that a row calls `name`; raises InputChanged for a file that is another now.

        Raises ImageError for one that cannot be used, RowError for a name that is none.
        """
        if is_data_url(name):
            return self._load_inside(name, place)
        path = find_known(name, place)
        expected = place.content[1][name] if place.content else None
        if expected is not None and expected in self.known:
            return LoadedImage(self.known[expected], expected)
        try:
            image = self.load_one(path, str(place))
        except (ImageError, OSError):
            _require_same(place, path, expected, _hash_image(path))
            raise
        _require_same(place, path, expected, image.file_hash)
        return image

    def _load_inside(self, name: str, place: Place) -> LoadedImage:
        """An image that the row itself holds."""
        data = decode_data_url(name, str(place))
        file_hash = hashlib.sha256(data).hexdigest()
        if file_hash in self.known:
            return LoadedImage(self.known[file_hash], file_hash)
        return self.load_one(data, str(place))


def _require_same(place: Place, path: Path, expected: str | None, found: str | None) -> None:
    if place.content and found != expected:
        raise InputChanged(path)
