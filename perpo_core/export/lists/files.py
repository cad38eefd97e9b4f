"""The files that rows go into, one row at a time: JSON Lines, one JSON array, Parquet.

Parquet is written in row groups of bounded size, in files of a few hundred megabytes. Values that
come again in a group are there once (dictionary encoding), so that the pairs of a list do not
multiply its images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

FILE_BYTES = 256 << 20  # of different images
GROUP_BYTES, GROUP_ROWS = 16 << 20, 1024  # of images and texts as a reader unpacks them
Row = dict[str, Any]
Write = Callable[[Row], None]


class Files(Protocol):
    """How the rows of a format lie in a folder."""

    @property
    def pattern(self) -> str:
        """Their names, for datasets' data_files."""

    def open(self, folder: Path) -> AbstractContextManager[Write]:
        """What takes the rows, one after another."""


@dataclass(frozen=True)
class JsonLines:
    """A file of one JSON object a line."""

    pattern: str

    @contextmanager
    def open(self, folder: Path) -> Iterator[Write]:
        with (folder / self.pattern).open("w", encoding="utf-8", newline="\n") as file:
            yield lambda row: print(_write_json(row), file=file)


@dataclass(frozen=True)
class JsonArray:
    """A file that is one JSON array, an element a line."""

    pattern: str

    @contextmanager
    def open(self, folder: Path) -> Iterator[Write]:
        with (folder / self.pattern).open("w", encoding="utf-8", newline="\n") as file:
            before = "[\n"

            def write(row: Row) -> None:
                nonlocal before
                file.write(before + _write_json(row))
                before = ",\n"

            yield write
            file.write("\n]\n" if before != "[\n" else "[]\n")


@dataclass(frozen=True)
class Parquet:
    """NAME-00000.parquet and so on, of one schema whose `images` hold encoded bytes."""

    name: str
    schema: pa.Schema

    @property
    def pattern(self) -> str:
        return f"{self.name}-*.parquet"

    @contextmanager
    def open(self, folder: Path) -> Iterator[Write]:
        writer = _ParquetWriter(folder, self.name, self.schema)
        try:
            yield writer.write
            writer.finish()
        finally:
            writer.close()


class _ParquetWriter:
    """Holds the rows of one group, and one open file."""

    def __init__(self, folder: Path, name: str, schema: pa.Schema) -> None:
        self._folder, self._name, self._schema = folder, name, schema
        self._file: pq.ParquetWriter | None = None
        self._num_files = self._file_bytes = self._group_bytes = 0
        self._held: list[Row] = []

    def write(self, row: Row) -> None:
        self._held.append(row)
        self._group_bytes += _measure(row)
        if self._group_bytes >= GROUP_BYTES or len(self._held) == GROUP_ROWS:
            self._flush()

    def finish(self) -> None:
        """Write what is held; a folder without rows has a file without rows."""
        if self._held or not self._num_files:
            self._flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file, self._file_bytes = None, 0

    def _flush(self) -> None:
        if self._file is None:
            path = self._folder / f"{self._name}-{self._num_files:05d}.parquet"
            self._file = pq.ParquetWriter(
                path, self._schema, compression="zstd", dictionary_pagesize_limit=2 * GROUP_BYTES
            )
            self._num_files += 1
        self._file.write_batch(pa.RecordBatch.from_pylist(self._held, self._schema))
        different = {image["bytes"] for row in self._held for image in row["images"]}
        self._file_bytes += sum(map(len, different))
        self._held, self._group_bytes = [], 0
        if self._file_bytes >= FILE_BYTES:
            self.close()


def _measure(value: Any) -> int:
    """Bytes, about."""
    if isinstance(value, (bytes, str)):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_measure, value.values()))
    return sum(map(_measure, value)) if isinstance(value, list) else 8


def _write_json(row: Row) -> str:
    return json.dumps(row, ensure_ascii=False, allow_nan=False)
