"""Rounds of LoRA through the stages: what they write, and that they are as good as merged ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.policy.adapters import load_rank
from perpo_core.policy.resolve import resolve_policy
from perpo_core.stages import collect, evaluate, train
from perpo_core.stages.generate.engine import GREEDY_INDEX
from perpo_core.stages.stage import StageContext, find_or_make
from schemas.artifact import Checkpoint
from schemas.run import PolicyRef
from tests.perpo_core.round_fixture import promote_checkpoint
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import LORA, NUM_LISTS, SOURCE, TRAIN

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROUNDS, RANK = 5, 2
# Without selection prompts the last weights are the result of every round.
DATA = SOURCE | {"selection": {}, "test": {"grounding": 6, "ocr": 3, "counting": 3}}


def read_greedy(context: StageContext, samples: Any, checkpoint: Checkpoint) -> Any:
    """Of base and trained: sample -> greedy answer and reward, as an evaluation has them."""
    report = find_or_make(context, evaluate, samples, checkpoint).artifact
    rows = pq.read_table(context.store.path(report, "predictions.parquet")).to_pylist()
    return [
        {
            row["sample_id"]: (row["text"], row["reward"])
            for row in rows
            if row["policy"] == name and row["index"] == GREEDY_INDEX
        }
        for name in ("base", "trained")
    ]


def measure(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_five_promotions_write_adapters_and_answer_as_merged_weights(
    tmp_path: Path, policy: PolicyRef, processor: Any
) -> None:
    settings = TRAIN | LORA | {"lora_rank": RANK, "lora_alpha": 2 * RANK, "learning_rate": 3e-2}
    context = build_context(
        tmp_path,
        source=DATA,
        train=settings,
        policy={"model": "promoted", "base": str(policy.folder)},
        generate={"engine": "vllm", "processes": 1, "max_tokens": 12},
        evaluate={"num_samples": 2, "bootstrap_resamples": 100},
    )
    samples = find_or_make(replace(context, policy=policy), collect).artifact
    preferences = commit_lists(context, samples, processor.tokenizer, NUM_LISTS)
    bytes_whole, bytes_written = measure(policy.folder), []
    for number in range(ROUNDS):
        start = resolve_policy(context.config.policy, context.store)
        assert load_rank(start) == number * RANK
        of_round = context.config.train.model_copy(update={"seed": number})
        config = context.config.model_copy(update={"train": of_round})
        now = replace(context, policy=start, config=config)
        checkpoint = find_or_make(now, train, samples, preferences).artifact
        bytes_written.append(sum(file.num_bytes for file in checkpoint.files))
        promote_checkpoint(now.store, checkpoint)
        if number == 2:  # three joined
            merged_train = of_round.model_copy(update={"save": "merged"})
            whole = replace(now, config=config.model_copy(update={"train": merged_train}))
            merged = find_or_make(whole, train, samples, preferences).artifact
            assert sum(file.num_bytes for file in merged.files) > bytes_whole
            before, mine = read_greedy(now, samples, checkpoint)
            assert [before, mine] == read_greedy(whole, samples, merged)
            assert mine != before and len(mine) == 12
    print(f"bytes of {ROUNDS} promotions: {bytes_written}, of whole weights {bytes_whole}")
    assert sum(bytes_written) < bytes_whole / 2
    final = resolve_policy(context.config.policy, context.store)
    assert final.base is not None and final.base.digest == policy.digest
    assert load_rank(final) == ROUNDS * RANK
