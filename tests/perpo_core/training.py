"""A small training for tests: lists in a store, and the trainer as the child builds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    TrainerCallback,
)

from perpo_core.train import child
from perpo_core.train.data import RankedLists
from perpo_core.train.model import choose_trained, load_policy
from perpo_core.train.trainer import ListTrainer
from schemas.config import TrainConfig
from tests.history import keep_reproducible
from tests.perpo_core.small_lists import ScriptedValidation

SOURCE = {
    "kind": "digits",
    "train": {"grounding": 7},
    "validation": {"grounding": 3, "ocr": 2, "counting": 1},
    "test": {},
}
TRAIN: dict[str, Any] = {
    "adapter": "full", "learning_rate": 1e-4, "schedule": "constant", "batch_lists": 4,
    "micro_batch_lists": 2, "epochs": 2, "eval_every_steps": 1, "threads": 1,
}  # fmt: skip
LORA: dict[str, Any] = {"adapter": "lora", "lora_rank": 8, "lora_alpha": 16, "learning_rate": 1e-3}
NUM_LISTS, NUM_STEPS = 7, 4  # two epochs of a batch of 4 and one of 3


def build_trainer(
    setting: Any,
    work: Path,
    validation: ScriptedValidation | None = None,
    resumed: bool = False,
    callbacks: tuple[TrainerCallback, ...] = (),
    **changes: Any,
) -> Any:
    """As the child's main builds it."""
    context, _, preferences = setting
    config = TrainConfig(**(TRAIN | changes))
    torch.manual_seed(config.seed)
    model, processor = load_policy(context.policy.folder, "float32")
    lists = RankedLists(context.store.path(preferences, "preferences.parquet"), processor)
    child.attach_references(model, lists, processor, config)
    trainer = child.build_trainer(
        choose_trained(model, config), lists, validation or ScriptedValidation(),  # type: ignore[arg-type]
        processor, config, work, not resumed,
    )  # fmt: skip
    for callback in callbacks:
        trainer.add_callback(callback)
    return trainer


def copy_weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def same_weights(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def read_points(trainer: ListTrainer) -> list[dict[str, Any]]:
    """The logged steps, metrics beside the loss, without what two equal trainings differ in."""
    history, _ = child.read_history(trainer.state.log_history)
    rows = [point.model_dump(exclude_none=True) for point in keep_reproducible(history)]
    return [row | row.pop("metrics") for row in rows]
