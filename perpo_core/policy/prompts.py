"""Prompts as the engines want them, read lazily from samples.parquet."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from perpo_core.vision.images import open_stored

COLUMNS = ["prompt_id", "split", "images", "prompt"]
READ_ROWS = 128  # rows of encoded images held at a time beside the shard in hand


@dataclass(frozen=True)
class Prompt:
    """One prompt: its identity, chat messages and encoded images."""

    prompt_id: str
    messages: list[dict[str, Any]]
    images: list[bytes]

    def open_images(self) -> list[Image.Image]:
        """Decode the images, RGB."""
        return [open_stored(data) for data in self.images]


def list_prompt_ids(samples_file: Path, splits: Sequence[str]) -> list[str]:
    """Distinct prompts of the splits in the file's order, without reading their images."""
    table = pq.read_table(samples_file, columns=["prompt_id", "split"])
    rows = zip(table["prompt_id"].to_pylist(), table["split"].to_pylist(), strict=True)
    return list(dict.fromkeys(prompt_id for prompt_id, split in rows if split in splits))


def iter_prompts(
    samples_file: Path, splits: Sequence[str], wanted: Collection[str] | None = None
) -> Iterator[Prompt]:
    """Every distinct prompt of the splits, or the wanted ones of them, in order and lazily."""
    seen: set[str] = set()
    parquet = pq.ParquetFile(samples_file)
    for group in range(parquet.num_row_groups):
        if wanted is not None and not _has_any(parquet, group, wanted):
            continue
        for batch in parquet.iter_batches(READ_ROWS, row_groups=[group], columns=COLUMNS):
            for row in _select(batch, splits, wanted).to_pylist():
                if row["prompt_id"] not in seen:
                    seen.add(row["prompt_id"])
                    images = [image["bytes"] for image in row["images"]]
                    yield Prompt(row["prompt_id"], clean_messages(row["prompt"]), images)


def _has_any(parquet: pq.ParquetFile, group: int, wanted: Collection[str]) -> bool:
    """Whether a row group has any of the prompts; its images stay on disk."""
    ids = parquet.read_row_group(group, columns=["prompt_id"])["prompt_id"].to_pylist()
    return any(prompt_id in wanted for prompt_id in ids)


def _select(
    batch: pa.RecordBatch, splits: Sequence[str], wanted: Collection[str] | None
) -> pa.RecordBatch:
    """The rows to turn into Python objects, which is what takes the time."""
    chosen = [
        split in splits and (wanted is None or prompt_id in wanted)
        for prompt_id, split in zip(
            batch["prompt_id"].to_pylist(), batch["split"].to_pylist(), strict=True
        )
    ]
    return batch.filter(pa.array(chosen, pa.bool_()))


def clean_messages(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages without the None that Arrow puts under every key: templates test for presence."""
    return [
        {
            "role": message["role"],
            "content": [
                {key: value for key, value in part.items() if value is not None}
                for part in message["content"]
            ],
        }
        for message in messages
    ]
