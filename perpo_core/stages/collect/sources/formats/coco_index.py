"""The annotations of a COCO file by image, in a database on disk: they stand in any order.

Made in one pass over the file, in which memory does not grow, and kept in the temporary folder
while this process reads the same file: a source is read several times. Of an annotation it holds
what a row is made of, which of a detection file is about a tenth.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError
from perpo_core.stages.collect.sources.formats.json_items import Item, iterate_items
from perpo_core.stages.collect.sources.formats.records import check_object

TABLES = """
CREATE TABLE images (number INTEGER PRIMARY KEY, id TEXT, record TEXT);
CREATE TABLE annotations (number INTEGER PRIMARY KEY, id TEXT, image TEXT, record TEXT);
"""
INDICES = """
CREATE INDEX image_id ON images (id);
CREATE INDEX annotation_id ON annotations (id);
CREATE INDEX annotation_image ON annotations (image);
"""
IMAGES = "SELECT number, id, record FROM images ORDER BY number"
OF_IMAGE = "SELECT number, record FROM annotations WHERE image = ? ORDER BY number"
STRAYS = (
    "SELECT number, record FROM annotations WHERE image IS NULL"
    " OR image NOT IN (SELECT id FROM images WHERE id IS NOT NULL) ORDER BY number"
)
TWICE = "SELECT id FROM {} WHERE id IS NOT NULL GROUP BY id HAVING COUNT(*) > 1 LIMIT 1"
KEYED = ("images", "annotations")
PAIR = (
    "SELECT annotations.record, images.record FROM annotations"
    " LEFT JOIN images ON images.id = annotations.image WHERE annotations.id = ?"
)
READ = ("id", "image_id", "category_id", "bbox", "iscrowd", "caption")
"""Keys of an annotation that rows are made of; masks, key points and areas are left."""
KEPT_FILES = 8
Entry = dict[str, Any] | RowError
Numbered = tuple[int, Entry]


def open_index(file: Path) -> CocoIndex:
    """The index of a file as it is now; it is made anew once the file is another."""
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file; correct source.files")
    status = os.stat(file)
    return _make_index(file, os.getpid(), status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=KEPT_FILES)
def _make_index(file: Path, *stamp: int) -> CocoIndex:
    del stamp
    return CocoIndex(file)


def name_id(value: Any) -> str | None:
    """An id for comparing: 5 and "5" are two; None for what is none."""
    return json.dumps(value) if isinstance(value, int | str) else None


class CocoIndex:
    """A COCO file: images in its order, each with its annotations, and what they refer to."""

    def __init__(self, file: Path) -> None:
        self.categories: dict[str | None, Any] = {}
        self.licences: dict[str | None, str] = {}
        self._file = file
        self._folder = tempfile.TemporaryDirectory(prefix="perpo-coco-")
        self._path = os.path.join(self._folder.name, "index.sqlite")
        self._fill(file)

    def iterate_images(self) -> Iterator[tuple[int, Entry, list[Numbered]]]:
        """(number in the file, image, its annotations with their numbers)."""
        with closing(self._open()) as database:
            for number, image_id, record in database.execute(IMAGES):
                found = database.execute(OF_IMAGE, (image_id,))
                yield number, _read(record), [(n, _read(text)) for n, text in found]

    def iterate_strays(self) -> Iterator[Numbered]:
        """Annotations of no image of the file, and entries that are no annotations."""
        with closing(self._open()) as database:
            yield from ((number, _read(record)) for number, record in database.execute(STRAYS))

    def find_annotations(self, ids: Iterator[Any]) -> Iterator[tuple[Entry | None, Entry | None]]:
        """The annotation of each id, and its image; None where there is none."""
        with closing(self._open()) as database:
            for annotation_id in ids:
                found = database.execute(PAIR, (name_id(annotation_id),)).fetchone()
                annotation, image = found or (None, None)
                yield annotation and _read(annotation), image and _read(image)

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path)

    def _fill(self, file: Path) -> None:
        keys: set[str | None] = set()
        with closing(self._open()) as database:
            database.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;" + TABLES)
            for item in iterate_items(file):
                keys.add(item.key)
                self._take(database, item)
            database.commit()
            database.executescript(INDICES)
            twice = {name: database.execute(TWICE.format(name)).fetchone() for name in KEYED}
        if not {*KEYED} <= keys:
            has = ", ".join(sorted(key for key in keys if key)) or "none"
            raise ValueError(
                f"{file}: a COCO file has the arrays images and annotations with entries, and this "
                f"one has {has}"
            )
        for name, found in twice.items():
            if found:
                raise ValueError(f"{file}: two {name} have the id {found[0]}; give each its own")

    def _take(self, database: sqlite3.Connection, item: Item) -> None:
        entry = check_object(item.value)
        value = entry if isinstance(entry, dict) else {}
        own_id = name_id(value.get("id"))
        if item.key == "images":
            row = (item.number, own_id, _write(entry))
            database.execute("INSERT INTO images VALUES (?, ?, ?)", row)
        elif item.key == "annotations":
            kept = {key: value[key] for key in READ if key in value} if value else entry
            image = name_id(value.get("image_id"))
            annotation = (item.number, own_id, image, _write(kept))
            database.execute("INSERT INTO annotations VALUES (?, ?, ?, ?)", annotation)
        elif item.key == "categories":
            if own_id in self.categories:
                raise ValueError(f"{self._file}: two categories have the id {own_id}; keep one")
            self.categories[own_id] = value.get("name")
        elif item.key == "licenses":
            self.licences[own_id] = str(value.get("name") or "")


def _write(entry: Entry) -> str:
    """An entry that cannot be used is kept as [reason, sentence]."""
    return json.dumps([entry.reason, str(entry)] if isinstance(entry, RowError) else entry)


def _read(text: str) -> Entry:
    entry = json.loads(text)
    return entry if isinstance(entry, dict) else RowError(*entry)
