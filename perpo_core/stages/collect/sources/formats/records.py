"""Records of JSON, JSON Lines, Parquet and Arrow files, one by one, whatever they mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.perception.truths.row import RowError, show_value
from perpo_core.stages.collect.sources.formats.json_items import iterate_items
from perpo_core.stages.collect.sources.formats.places import DataFile, list_data_files
from perpo_core.stages.collect.sources.jsonl_keys import parse_json

BATCH_ROWS = 32  # images embedded in them are held as long


@dataclass(frozen=True)
class Record:
    """One of them, or why it cannot be read."""

    label: str
    """With the file's name, where a folder was named."""
    value: dict[str, Any] | RowError
    file: str
    """The name that says the split, where the record does not."""

    def get(self) -> dict[str, Any]:
        """Raises RowError."""
        if isinstance(self.value, RowError):
            raise self.value
        return self.value


def iterate_records(place: Path) -> Iterator[Record]:
    """All of one entry of source.files. Raises ValueError for a file that is none of these."""
    for file in list_data_files(place):
        for number, value in enumerate(_iterate_values(file), start=1):
            if value is None:
                continue
            label = f"{file.name} row {number}".strip()
            yield Record(label, value, file.name or place.name)


def _iterate_values(file: DataFile) -> Iterator[dict[str, Any] | RowError | None]:
    """None for a blank line, which is counted as editors count it."""
    suffix = file.path.suffix
    if suffix in (".jsonl", ".ndjson"):
        yield from _iterate_lines(file.path)
    elif suffix == ".json":
        yield from _iterate_array(file.path)
    elif suffix in (".parquet", ".arrow"):
        yield from _iterate_table(file.path)
    else:
        raise ValueError(
            f"{file.path}: its name does not say what it holds; it ends in .json, .jsonl, .parquet "
            "or .arrow"
        )


def _iterate_lines(path: Path) -> Iterator[dict[str, Any] | RowError | None]:
    with path.open("rb") as handle:
        for number, line in enumerate(handle):
            text = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
            if not text.strip():
                yield None
                continue
            try:
                yield parse_json(text, "")
            except RowError as error:
                yield RowError(error.reason, str(error).removeprefix(": "))


def _iterate_array(path: Path) -> Iterator[dict[str, Any] | RowError]:
    for item in iterate_items(path):
        if item.key is not None:
            raise ValueError(
                f"{path}: an object with key {show_value(item.key)}, and no array of records; "
                "give the array alone, or one object a line as .jsonl"
            )
        yield check_object(item.value)


def check_object(value: Any) -> dict[str, Any] | RowError:
    """The value, if a record can be one."""
    if isinstance(value, dict | RowError):
        return value
    return RowError("malformed row", f"not a JSON object: {show_value(value)}")


def _iterate_table(path: Path) -> Iterator[dict[str, Any]]:
    try:
        for batch in _iterate_batches(path):
            yield from batch.to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"{path}: no {path.suffix[1:]} file ({first}); get it anew") from error


def _iterate_batches(path: Path) -> Iterator[pa.RecordBatch]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            yield from file.iter_batches(BATCH_ROWS, use_threads=False)
        return
    with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
        for batch in stream:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)
