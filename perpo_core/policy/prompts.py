"""Prompts as the engines want them, read lazily from the files of a sample set."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from perpo_core.store.packs import Images
from perpo_core.vision.stored import open_stored
from schemas.run import SampleFiles

COLUMNS = ["prompt_id", "split", "images", "prompt"]
READ_ROWS = 512  # turned into Python objects at a time


@dataclass(frozen=True)
class Prompt:
    """One prompt: its identity, chat messages and encoded images."""

    prompt_id: str
    messages: list[dict[str, Any]]
    images: list[bytes]

    def open_images(self) -> list[Image.Image]:
        """Decode the images, RGB."""
        return [open_stored(data) for data in self.images]


def list_prompt_ids(samples: SampleFiles, splits: Sequence[str]) -> list[str]:
    """Distinct prompts of the splits in the files' order."""
    found: dict[str, None] = {}
    for part in samples.parts:
        table = pq.read_table(part, columns=["prompt_id", "split"])
        chosen = table.filter(pc.is_in(table["split"], pa.array(splits, pa.string())))
        found |= dict.fromkeys(chosen["prompt_id"].to_pylist())
    return list(found)


def count_most_images(samples: SampleFiles) -> int:
    """The most images that any prompt shows."""
    counts = (pc.list_value_length(pq.read_table(part, columns=["images"])["images"])
              for part in samples.parts)  # fmt: skip
    return max((pc.max(count).as_py() for count in counts if len(count)), default=0)


def iter_prompts(
    samples: SampleFiles, splits: Sequence[str], wanted: Collection[str] | None = None
) -> Iterator[Prompt]:
    """Every distinct prompt of the splits, or the wanted ones of them, in order and lazily."""
    images, seen = Images(samples.packs), set[str]()
    for part in samples.parts:
        with pq.ParquetFile(part, memory_map=True, pre_buffer=False) as file:
            for batch in file.iter_batches(READ_ROWS, columns=COLUMNS):
                for row in _select(batch, splits, wanted).to_pylist():
                    if row["prompt_id"] not in seen:
                        seen.add(row["prompt_id"])
                        yield read_prompt(row, images)


def read_prompt(row: dict[str, Any], images: Images) -> Prompt:
    """The prompt of a row that names its images."""
    data = [images.read(image_hash) for image_hash in row["images"]]
    return Prompt(row["prompt_id"], clean_messages(row["prompt"]), data)


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
