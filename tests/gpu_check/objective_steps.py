"""A few training steps of every objective and term on the built-in policy; a row each.

As a child process of its own it does so wherever torch finds itself: tests.gpu_check.objectives
runs it on the device and, with the GPUs hidden, on the CPU.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from perpo_core.bootstrap.model import build_model, build_processor
from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.process.child import emit, load_job
from perpo_core.stages import collect
from perpo_core.stages.stage import find_or_make
from perpo_core.stages.train.objectives import OBJECTIVES, TERMS
from perpo_core.stages.train.token_table import write_token_part
from perpo_core.store.keys import hash_folder
from schemas.run import PolicyRef
from tests.gpu_check.cases import Figures, report_case, use_exact_float32
from tests.gpu_check.plan import PartJob
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import (
    NUM_LISTS,
    SOURCE,
    TRAIN,
    build_trainer,
    copy_weights,
)

# Two steps: the second loss is the first that follows from gradients.
STEPS: dict[str, Any] = {"learning_rate": 3e-5, "epochs": 1, "eval_every_steps": 100}


def main() -> None:
    job = load_job(PartJob)
    use_exact_float32()
    setting = build_setting(job.folder)
    settings: dict[str, dict[str, Any]] = {name: {"objective": name} for name in OBJECTIVES}
    settings["mrpo"]["extra_references"] = [str(build_other_policy(job.folder / "other"))]
    settings["rosepo"]["smoothing_slope"] = 4.0  # these lists have no scores to fit one to
    settings["tis_dpo"]["inputs"] = {"contrasts": write_contrasts(setting, job.folder)}
    settings |= {f"perpo + {name}": {name: 0.5} for name in TERMS}
    for name, changes in settings.items():
        folder = job.folder / name.replace(" + ", "-")
        report_case(name, partial(make_steps, setting, folder, changes))
    emit("result")


def build_setting(folder: Path) -> Any:
    """(context, samples, preferences) in a store."""
    policy = PolicyRef(digest=hash_folder(BUILTIN_FOLDER), folder=BUILTIN_FOLDER)
    context = replace(build_context(folder, source=SOURCE, train=TRAIN), policy=policy)
    samples = find_or_make(context, collect).artifact
    tokenizer = build_processor().tokenizer
    return context, samples, commit_lists(context, samples, tokenizer, NUM_LISTS)


def build_other_policy(folder: Path) -> Path:
    """The further reference of mrpo."""
    processor = build_processor()
    build_model(processor, seed=2).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def write_contrasts(setting: Any, folder: Path) -> list[Path]:
    """What tis_dpo weighs tokens by: of every answer the first tokens most."""
    context, _, preferences = setting
    paths = []
    for part in context.store.paths(preferences):
        lists = pq.read_table(part).to_pylist()
        rows = [
            [[1 / (1 + t) for t in range(len(each["token_ids"]))] for each in row["responses"]]
            for row in lists
        ]
        paths.append(folder / "contrasts" / part.name)
        write_token_part(paths[-1], [row["sample_id"] for row in lists], rows)
    return paths


def make_steps(setting: Any, work: Path, changes: dict[str, Any]) -> Figures:
    """The losses of all steps, and how far the weights moved."""
    trainer = build_trainer(setting, work, **(STEPS | changes))
    before = copy_weights(trainer.list_policy)
    trainer.train()
    moved = sum(
        (weight - before[name]).double().square().sum().item()
        for name, weight in trainer.list_policy.named_parameters()
    )
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "result": "measured",
        "losses": losses,
        "weight_change": moved**0.5,
        "device": trainer.list_policy.device.type,
    }


if __name__ == "__main__":
    main()
