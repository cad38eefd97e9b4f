"""A run's ranked lists as Parquet that datasets and TRL open as it is, images inside.

    lists-00000.parquet     schemas.arrow.EXPORTED_LISTS, a few hundred megabytes a file

`chosen` and `rejected` are the best and the worst answer; all answers are in `responses`. Rows are
read and written in a stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.export.folder import appearing
from perpo_core.store.packs import PREFIX, Images
from perpo_core.store.store import Store
from schemas.arrow import EXPORTED_LISTS
from schemas.artifact import PreferenceSet, SampleSet
from schemas.run import RunRecord

FILE_BYTES, GROUP_BYTES = 256 << 20, 4 << 20  # of images and answers
READ_ROWS = 64
Row = dict[str, Any]


def export_lists(store: Store, run: RunRecord, folder: Path) -> int:
    """Write the lists of a run; how many there were.

    Raises ValueError, one sentence, where the run has none or the folder cannot be made.
    """
    samples, preferences = _find(store, run, "collect"), _find(store, run, "materialize")
    assert isinstance(samples, SampleSet) and isinstance(preferences, PreferenceSet)
    images = Images(store.paths(samples, PREFIX))
    rows = _iterate_rows(store.paths(preferences), images)
    num_rows = 0
    with appearing(folder, sum(file.num_bytes for file in samples.files)) as temporary:
        number = 0
        while first := next(rows, None):
            path = temporary / f"lists-{number:05d}.parquet"
            num_rows += _write_file(path, first, rows)
            number += 1
    return num_rows


def _find(store: Store, run: RunRecord, stage: Any) -> Any:
    """A stage's artifact as the run made it."""
    entry = run.stages.get(stage)
    found = store.find(entry.kind, entry.key) if entry else None
    if entry is None or found is None or found.digest != entry.digest:
        raise ValueError(
            f"the run {run.run_id} has no lists to export: what its stage {stage} made is not in "
            f"{store.place} as it was; refresh again"
        )
    return found


def _iterate_rows(parts: list[Path], images: Images) -> Iterator[Row]:
    for part in parts:
        with pq.ParquetFile(part, memory_map=True, pre_buffer=False) as file:
            for batch in file.iter_batches(READ_ROWS):
                yield from (_build_row(row, images) for row in batch.to_pylist())


def _build_row(row: Row, images: Images) -> Row:
    best, worst = row["responses"][0], row["responses"][-1]
    return row | {
        "images": [{"bytes": images.read(name), "path": None} for name in row["images"]],
        "chosen": _as_message(best["text"]),
        "rejected": _as_message(worst["text"]),
    }


def _as_message(text: str) -> list[Row]:
    return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]


def _write_file(path: Path, first: Row, rows: Iterator[Row]) -> int:
    """The next rows, until the file is large enough; how many."""
    num_rows = num_bytes = 0
    held = [first]
    with pq.ParquetWriter(path, EXPORTED_LISTS, compression="zstd") as writer:
        while held:
            while (size := _measure(held)) < GROUP_BYTES and (more := list(islice(rows, 1))):
                held += more
            writer.write_batch(pa.RecordBatch.from_pylist(held, EXPORTED_LISTS))
            num_rows, num_bytes = num_rows + len(held), num_bytes + size
            held = list(islice(rows, 1)) if num_bytes < FILE_BYTES else []
    return num_rows


def _measure(rows: list[Row]) -> int:
    return sum(
        sum(len(image["bytes"]) for image in row["images"])
        + sum(len(response["text"]) for response in row["responses"])
        for row in rows
    )
