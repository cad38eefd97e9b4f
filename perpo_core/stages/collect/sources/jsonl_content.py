"""What a source of files held when its key was computed, and whether that is what is read now.

Files are hashed as they are read, so that nothing else is ever collected under a key: somebody may
be writing them. Images are held against it in jsonl_loading.py; what a row says is jsonl_row.py.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError
from perpo_core.policy.stamps import InputChanged
from perpo_core.stages.collect.sources.formats import FORMATS
from perpo_core.stages.collect.sources.formats.line import Line
from perpo_core.stages.collect.sources.jsonl_keys import parse_json
from perpo_core.stages.collect.sources.jsonl_names import ImageFolder, is_data_url, list_names
from perpo_core.stages.collect.sources.jsonl_truths import list_variants
from perpo_core.store.known_digests import hash_untouched
from schemas.sources import RowsSource

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


def hash_image(path: str | Path) -> str | None:
    """sha256 of a file; None where there is no such file."""
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
                    images[name] = hash_image(folder.find(name, line.label))
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
            todo = (
                "write one JSON object a line"
                if config.kind == "jsonl"
                else f"correct source.files, or source.kind, which is {config.kind}"
            )
            raise ValueError(f"{file}: the file has no rows; {todo}")


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
