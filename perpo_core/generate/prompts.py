"""Prompts as the engines want them, read shard by shard from samples.parquet."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from PIL import Image

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
        return [Image.open(io.BytesIO(data)).convert("RGB") for data in self.images]


def iter_prompt_shards(
    samples_file: Path, splits: Sequence[str], shard_prompts: int
) -> Iterator[list[Prompt]]:
    """Distinct prompts of the splits in the file's order, `shard_prompts` at a time."""
    shard: list[Prompt] = []
    for prompt in iter_prompts(samples_file, splits):
        shard.append(prompt)
        if len(shard) == shard_prompts:
            yield shard
            shard = []
    if shard:
        yield shard


def iter_prompts(samples_file: Path, splits: Sequence[str]) -> Iterator[Prompt]:
    """Every distinct prompt of the splits, lazily."""
    seen: set[str] = set()
    parquet = pq.ParquetFile(samples_file)
    for batch in parquet.iter_batches(READ_ROWS, columns=COLUMNS):
        for row in batch.to_pylist():
            if row["split"] in splits and row["prompt_id"] not in seen:
                seen.add(row["prompt_id"])
                images = [image["bytes"] for image in row["images"]]
                yield Prompt(row["prompt_id"], clean_messages(row["prompt"]), images)


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
