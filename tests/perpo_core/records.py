"""Small files of records as other tools write them, and what a source makes of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.stages.collect.sources.jsonl_content import iterate_lines
from perpo_core.stages.collect.sources.rows import SampleRow, SetAside
from perpo_core.stages.collect.sources.rows_source import iterate_samples
from schemas.sources import RowsSource
from tests.perpo_core.cases import encode_noise


def write_json(file: Path, content: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def write_lines(file: Path, records: Iterable[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
    file.write_text("\n".join(lines))
    return file


def write_table(file: Path, records: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(records), file)
    return file


def write_noise(folder: Path, *names: str) -> None:
    """A 40x30 image under each name, another one each."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(encode_noise(number))


def convert(source: RowsSource) -> list[dict[str, Any]]:
    """The rows that the files convert to, those with reasons left out."""
    lines = [line for file in source.files for line in iterate_lines(file, source)]
    return [json.loads(line.content) for line in lines if isinstance(line.content, bytes)]


def count_reasons(source: RowsSource) -> dict[str, int]:
    """Why records are no rows, at conversion."""
    counts: dict[str, int] = {}
    for file in source.files:
        for line in iterate_lines(file, source):
            if not isinstance(line.content, bytes):
                counts[line.content.reason] = counts.get(line.content.reason, 0) + 1
    return counts


def collect(source: RowsSource) -> list[SampleRow]:
    """The samples, images and all."""
    return [row for row in iterate_samples(source) if not isinstance(row, SetAside)]


def list_ids(source: RowsSource) -> list[str]:
    return sorted(row["sample_id"] for row in collect(source))
