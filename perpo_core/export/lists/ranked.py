"""Ranked lists as they lie in the store, read a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from perpo_core.policy.prompts import clean_messages
from perpo_core.store.row_reader import read_columns
from schemas.arrow import PREFERENCES

READ_ROWS = 64
REWARDS = "responses.list.element.reward"
Row = dict[str, Any]


@dataclass(frozen=True)
class Ranked:
    """One list: a prompt with its answers, the best first, and its images by their hashes."""

    sample_id: str
    task: str
    messages: list[Row]
    """Role and content parts; a part {"type": "image"} for each of the images, in their order."""
    images: list[str]
    answers: list[Row]
    """schemas.arrow.RESPONSE."""
    gap: float
    """Reward of the best minus that of the worst."""
    target: Row

    def __post_init__(self) -> None:
        num_parts = sum(part["type"] == "image" for m in self.messages for part in m["content"])
        if num_parts != len(self.images):
            raise ValueError(
                f"sample {self.sample_id} has {len(self.images)} images and {num_parts} places for "
                "one in its prompt; collect the data again"
            )


def iterate_lists(parts: Sequence[Path]) -> Iterator[Ranked]:
    """All lists, in the order of the files.

    Raises ValueError for a prompt that does not have a place for each of its images.
    """
    columns = [name for name in PREFERENCES.names if name != "prompt_id"]
    for part in parts:
        with pq.ParquetFile(part, memory_map=True, pre_buffer=False) as file:
            for batch in file.iter_batches(READ_ROWS, columns=columns):
                yield from map(_build, batch.to_pylist())


def find_reward_range(parts: Sequence[Path]) -> tuple[float, float]:
    """The lowest and the highest reward of any answer; (0, 1) where all lie within."""
    low, high = 0.0, 1.0
    for part in parts:
        found = pc.min_max(pc.struct_field(
            read_columns(part, [REWARDS])["responses"].combine_chunks().flatten(), "reward"
        )).as_py()  # fmt: skip
        if found["min"] is not None:
            low, high = min(low, found["min"]), max(high, found["max"])
    return low, high


def _build(row: Row) -> Ranked:
    return Ranked(
        sample_id=row["sample_id"],
        task=row["task"],
        messages=clean_messages(row["prompt"]),
        images=row["images"],
        answers=row["responses"],
        gap=row["reward_gap"],
        target=row["target"],
    )
