"""Small ranked lists over digit scenes, and selection rewards that are what a test wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from torch import nn

from perpo_core.bootstrap.model import END
from perpo_core.stages.stage import StageContext
from perpo_core.stages.train.selection import Reading
from perpo_core.store.keys import compute_digest
from perpo_core.store.provenance import as_parents
from schemas.arrow import PREFERENCES
from schemas.artifact import PreferenceSet, SampleSet
from tests.perpo_core.small_store import common_fields, read_rows

ANSWERS = [
    "[0.25, 0.50, 0.75, 1.00]", "[0.1, 0.2, 0.3, 0.4]", "7", "no idea", "481\n20", "2 2", "9" * 12,
]  # fmt: skip


def build_list_rows(sample_rows: Sequence[dict[str, Any]], tokenizer: Any) -> list[dict[str, Any]]:
    """A list a sample, of 2 to 4 answers, with rewards that no other list has."""
    rows = []
    for number, sample in enumerate(sample_rows):
        size = 2 + number % 3
        texts = [ANSWERS[(number + g) % len(ANSWERS)] for g in range(size)]
        rewards = [round(1 - 0.01 * number - 0.2 * g, 6) for g in range(size)]
        responses = [
            {
                "index": g,
                "candidate_hash": "",
                "text": text,
                "token_ids": tokenizer(text + END)["input_ids"],
                "reward": reward,
                "rank": g,
                "logp": -1.0,
            }
            for g, (text, reward) in enumerate(zip(texts, rewards, strict=True))
        ]
        kept = ("sample_id", "prompt_id", "task", "images", "prompt", "target")
        rows.append(
            {name: sample[name] for name in kept}
            | {"responses": responses}
            | {"reward_gap": rewards[0] - rewards[-1]}
        )
    return rows


def commit_lists(
    context: StageContext, samples: SampleSet, tokenizer: Any, num_lists: int
) -> PreferenceSet:
    """Lists over the first training samples, in the store."""
    sample_rows = [row for row in read_rows(context.store, samples) if row["split"] == "train"]
    rows = build_list_rows(sample_rows[:num_lists], tokenizer)
    workspace = context.store.open_workspace("preferences", "f" * 64)
    table = pa.Table.from_pylist(rows, schema=PREFERENCES)
    files = [workspace.write_table("part-00000.parquet", table)]
    fields = common_fields("materialize", "preferences", len(rows), files)
    fields |= {"key": "f" * 64, "digest": compute_digest(files), "parents": as_parents(samples)}
    return context.store.commit(
        PreferenceSet(**fields, num_lists={"grounding": len(rows)}, mean_list_size=3)
    )


class ScriptedSelection:
    """Says the readings it was given, in turn, and hands every measured model to `look`."""

    def __init__(
        self,
        readings: Sequence[float] | Callable[[Any], float] = (),
        look: Callable[[nn.Module], None] = lambda model: None,
    ) -> None:
        self._readings = readings if callable(readings) else list(readings)
        self._look = look

    def __len__(self) -> int:
        return 1 if callable(self._readings) or self._readings else 0

    def measure(self, model: nn.Module) -> Reading:
        self._look(model)
        value = self._readings(model) if callable(self._readings) else self._readings.pop(0)
        return Reading(value, {"grounding": value})
