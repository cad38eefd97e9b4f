"""Two policies had and asked by two processes (torchrun, gloo) say what one process's say."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from perpo_core.stages import collect, contrast
from perpo_core.stages.stage import find_or_make
from perpo_core.stages.train.token_table import TokenTable
from schemas.artifact import ContrastSet
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import LORA, NUM_LISTS, SOURCE, TRAIN

# Steps of 3, 3 and 1 lists: in the last one the second process has none.
CONTRAST = {"epochs": 1, "learning_rate": 1e-3, "lora_rank": 8, "lora_alpha": 16}
TRAINING = TRAIN | LORA | {"objective": "tis_dpo", "batch_lists": 3, "micro_batch_lists": 1}


def ask(root: Path, policy: Any, processor: Any, by: str, **changes: Any) -> list[float]:
    """Every token's contrast, one list after the other."""
    sections: dict[str, Any] = {
        "source": SOURCE | {"selection": {}},
        "train": TRAINING | changes,
        "contrast": CONTRAST | {"by": by},
    }
    context = replace(build_context(root, **sections), policy=policy)
    samples = find_or_make(context, collect).artifact
    preferences = commit_lists(context, samples, processor.tokenizer, NUM_LISTS)
    made = find_or_make(context, contrast, samples, preferences).artifact
    assert isinstance(made, ContrastSet)
    table = TokenTable(context.store.paths(made))
    rows = [table[number] for number in range(len(table))]
    assert len(rows) == NUM_LISTS
    return [float(token) for token in chain.from_iterable(chain.from_iterable(rows))]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("by", "sharding"), [("prompt", "none"), ("dpo", "none"), ("sft", "fsdp")])
def test_two_processes_contrast_as_one(tmp_path, policy, processor, by, sharding):
    alone = ask(tmp_path / "1", policy, processor, by, processes=1, sharding="none")
    together = ask(tmp_path / "2", policy, processor, by, processes=2, sharding=sharding)
    assert max(map(abs, alone)) > 0.01, "the two policies disagree"
    assert together == pytest.approx(alone, rel=1e-2, abs=2e-3)
