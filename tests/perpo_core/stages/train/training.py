"""A small training for tests: lists in a store, and the trainer as the child builds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    TrainerCallback,
)

from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.train import build, child, sidecars, version_sidecar
from perpo_core.stages.train.answer_columns import build_columns
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.degree_telling import attach_degrees
from perpo_core.stages.train.history import read_history
from perpo_core.stages.train.references import References
from perpo_core.stages.train.trainer import ListTrainer
from schemas.run import TrainJob
from schemas.train_config import TrainConfig
from tests.history import keep_reproducible
from tests.perpo_core.stages.train.small_lists import ScriptedSelection

SOURCE = {
    "kind": "digits",
    "train": {"grounding": 7},
    "selection": {"grounding": 3, "ocr": 2, "counting": 1},
    "validation": {},
    "test": {},
}
TRAIN: dict[str, Any] = {
    "adapter": "full", "learning_rate": 1e-4, "schedule": "constant", "batch_lists": 4,
    "micro_batch_lists": 2, "epochs": 2, "eval_every_steps": 1, "threads": 1, "trackers": [],
}  # fmt: skip
LORA: dict[str, Any] = {"adapter": "lora", "lora_rank": 8, "lora_alpha": 16, "learning_rate": 1e-3}
NUM_LISTS, NUM_STEPS = 7, 4  # two epochs of a batch of 4 and one of 3


def build_trainer(
    setting: Any,
    work: Path,
    selection: ScriptedSelection | None = None,
    resumed: bool = False,
    callbacks: tuple[TrainerCallback, ...] = (),
    inputs: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Any:
    """As the child's main builds it; `inputs` of the job are those that few objectives need."""
    dtype = changes.pop("dtype", "float32")
    config = TrainConfig(**(TRAIN | changes))
    job = build_job(setting, work, config, dtype).model_copy(update=inputs)
    model, processor = child.load_model(job, job.policy)
    lists = RankedLists(job.lists, job.samples.packs, processor, config.image)
    references = References(processor.tokenizer.pad_token_id, dtype, config)
    child.attach_references(model, lists, processor, references, job)
    lists.columns = build_columns(job, lists)
    attach_degrees(lists, processor, job)
    trainer = build.build_trainer(
        model, lists, selection or ScriptedSelection(),  # type: ignore[arg-type]
        processor, config, work, not resumed,
    )  # fmt: skip
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def build_job(setting: Any, folder: Path, config: TrainConfig, dtype: str = "float32") -> TrainJob:
    """As the stage's run builds it."""
    context, samples, preferences = setting
    policy = context.config.policy.model_copy(update={"dtype": dtype})
    whole = context.config.model_copy(update={"train": config, "policy": policy})
    context = replace(context, config=whole)
    return TrainJob(
        config=context.config,
        policy=context.policy,
        references=sidecars.list_jobs(
            context, preferences, folder / "references", sidecars.resolve(context.config)
        ),
        samples=list_sample_files(context.store, samples),
        lists=context.store.paths(preferences),
        folder=folder,
        store=context.store.place,
        degraded=version_sidecar.build_job(context, preferences, folder / "degraded"),
    )


def copy_weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def read_points(trainer: ListTrainer) -> list[dict[str, Any]]:
    """The logged steps, metrics beside the loss, without what two equal trainings differ in."""
    history, _ = read_history(trainer.state.log_history)
    rows = [point.model_dump(exclude_none=True) for point in keep_reproducible(history)]
    return [row | row.pop("metrics") for row in rows]
