"""Where only one coordinate of a box is wrong, the tokens of that coordinate weigh most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from perpo_core.bootstrap.model import END
from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.policy.stamps import refer_to
from perpo_core.stages import collect, contrast
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.stages.train.objectives.tis_dpo import weigh_tokens
from perpo_core.stages.train.token_table import TokenTable
from perpo_core.store.keys import compute_digest
from perpo_core.store.provenance import as_parents
from schemas.arrow import PREFERENCES
from schemas.artifact import PreferenceSet, SampleSet
from tests.perpo_core.small_store import build_context, common_fields, read_rows

NUM_LISTS = 64
SHIFTS = (0.13, 0.22, 0.31)  # of the wrong coordinate; 0-1 of the image
CONTRAST = {"epochs": 3, "learning_rate": 3e-4, "lora_rank": 16, "lora_alpha": 32}
SOURCE = {
    "kind": "digits", "train": {"grounding": NUM_LISTS}, "selection": {}, "validation": {},
    "test": {},
}  # fmt: skip


def write_box(box: Sequence[float]) -> str:
    return f"[{', '.join(f'{value:.2f}' for value in box)}]"


def list_answers(box: Sequence[float], wrong: int) -> list[str]:
    """The true box, and boxes of which one coordinate is off, the further the worse."""
    answers = [write_box(box)]
    for shift in SHIFTS:
        moved = box[wrong] + shift
        moved = moved if moved < 1 else box[wrong] - shift
        answers.append(write_box([*box[:wrong], moved, *box[wrong + 1 :]]))
    return answers


def commit_lists(context: StageContext, samples: SampleSet, tokenizer: Any) -> PreferenceSet:
    rows = [
        {name: sample[name] for name in PREFERENCES.names if name in sample}
        | {"responses": build_responses(sample["target"]["box"], n % 4, tokenizer)}
        | {"reward_gap": 0.3}
        for n, sample in enumerate(read_rows(context.store, samples))
    ]
    workspace = context.store.open_workspace("preferences", "e" * 64)
    table = pa.Table.from_pylist(rows, schema=PREFERENCES)
    files = [workspace.write_table("part-00000.parquet", table)]
    fields = common_fields("materialize", "preferences", len(rows), files)
    fields |= {"key": "e" * 64, "digest": compute_digest(files), "parents": as_parents(samples)}
    return context.store.commit(
        PreferenceSet(**fields, num_lists={"grounding": len(rows)}, mean_list_size=4)
    )


def build_responses(box: Sequence[float], wrong: int, tokenizer: Any) -> list[dict[str, Any]]:
    return [
        {
            "index": g, "candidate_hash": "", "text": text, "reward": 1 - 0.1 * g, "rank": g,
            "token_ids": tokenizer(text + END)["input_ids"], "logp": -1.0,
        }
        for g, text in enumerate(list_answers(box, wrong))
    ]  # fmt: skip


def find_heaviest(token_ids: Sequence[int], weights: Sequence[float], tokenizer: Any) -> int:
    """The coordinate that holds the token of most weight."""
    texts = [tokenizer.decode([token]) for token in token_ids]
    places = ["".join(texts[:t]).count(",") for t in range(len(texts))]
    digits = [t for t, text in enumerate(texts) if text.strip().isdigit()]
    return places[max(digits, key=lambda t: weights[t])]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_wrong_coordinate_weighs_most(tmp_path: Path, processor: Any) -> None:
    context = build_context(
        tmp_path, source=SOURCE, contrast=CONTRAST,
        train={"objective": "tis_dpo", "trackers": [], "micro_batch_tokens": 4096},
    )  # fmt: skip
    context = replace(context, policy=refer_to(BUILTIN_FOLDER))
    samples = find_or_make(context, collect).artifact
    preferences = commit_lists(context, samples, processor.tokenizer)
    made = find_or_make(context, contrast, samples, preferences).artifact
    table = TokenTable(context.store.paths(made))
    rows = pq.read_table(context.store.paths(preferences)[0]).to_pylist()
    right = sum(
        find_heaviest(
            answer["token_ids"],
            weigh_tokens(torch.tensor(table[i][g]), context.config.train)[1].tolist(),
            processor.tokenizer,
        )
        == i % 4
        for i, row in enumerate(rows)
        for g, answer in enumerate(row["responses"])
        if g > 0
    )
    num_wrong = NUM_LISTS * len(SHIFTS)
    print(f"the wrong coordinate weighs most in {right} of {num_wrong} wrong boxes")
    assert right > num_wrong / 2
