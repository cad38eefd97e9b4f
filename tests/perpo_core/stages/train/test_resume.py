"""Killed and resumed trainings end as straight ones."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from transformers import (
    TrainerCallback,
)

from perpo_core.stages.train.checkpoints import find_checkpoint
from perpo_core.stages.train.history import read_history
from perpo_core.stages.train.trainer import ListTrainer
from tests.history import keep_reproducible
from tests.perpo_core.stages.train.small_lists import ScriptedSelection
from tests.perpo_core.stages.train.training import (
    LORA,
    NUM_STEPS,
    build_trainer,
    copy_weights,
    same_weights,
)

pytestmark = pytest.mark.usefixtures("training_events")


# Resuming


class Interrupted(Exception):
    """Stands for a kill."""


class InterruptAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self._step:
            raise Interrupted


def read_some_weight(model: Any) -> float:
    """A reading that depends on every bit of the weights."""
    total = sum(weight.double().abs().sum().item() for weight in model.parameters())
    return math.modf(1000 * total)[0]


@pytest.mark.parametrize(
    "changes",
    [{}, LORA | {"degree_weight": 0.5}, {"micro_batch_lists": 1, "schedule": "cosine"}],
    ids=["full", "lora with a head", "parts"],
)
@pytest.mark.parametrize("killed_at", [2, 4])  # with 1 and 3 steps saved, within an epoch
def test_a_resumed_run_is_the_straight_run(trainable, tmp_path, changes, killed_at):
    straight = build_trainer(
        trainable, tmp_path / "straight", ScriptedSelection(read_some_weight), **changes
    )
    straight.train()

    def build(resumed: bool, *callbacks: TrainerCallback) -> ListTrainer:
        selection = ScriptedSelection(read_some_weight)
        return build_trainer(
            trainable, tmp_path / "killed", selection, resumed, callbacks, **changes
        )

    with pytest.raises(Interrupted):
        build(False, InterruptAt(killed_at)).train()
    checkpoint = find_checkpoint(tmp_path / "killed")
    assert checkpoint is not None and checkpoint.endswith(f"checkpoint-{killed_at - 1}")
    again = build(True)
    again.train(resume_from_checkpoint=checkpoint)
    assert same_weights(copy_weights(again.model), copy_weights(straight.model))
    (history, readings), (expected_history, expected_readings) = (
        read_history(trainer.state.log_history) for trainer in (again, straight)
    )
    assert keep_reproducible(history) == keep_reproducible(expected_history)
    assert readings == expected_readings
    assert len(history) == NUM_STEPS and len(readings) == 1 + NUM_STEPS


def test_patience_goes_on_where_it_was(trainable, tmp_path):
    """Best at step 1 and patience 2: step 3 is the last, killed at it or not."""
    settings: dict[str, Any] = {"patience": 2, "epochs": 4}
    straight = build_trainer(
        trainable,
        tmp_path / "a",
        ScriptedSelection([0.1, 0.5, 0.4, 0.3, 0.2, 0.1]),
        **settings,
    )
    straight.train()
    assert straight.state.global_step == 3
    selection = ScriptedSelection([0.1, 0.5, 0.4, 0.3, 0.2, 0.1])
    killed = build_trainer(
        trainable, tmp_path / "b", selection, callbacks=(InterruptAt(3),), **settings
    )
    with pytest.raises(Interrupted):
        killed.train()
    again = build_trainer(trainable, tmp_path / "b", selection, resumed=True, **settings)
    again.train(resume_from_checkpoint=find_checkpoint(tmp_path / "b"))
    assert again.state.global_step == 3
    assert same_weights(copy_weights(again.model), copy_weights(straight.model))


@pytest.mark.parametrize("left", [None, "", '{"epoch": 1.0, "log_history": [{"step": 1}'])
def test_a_checkpoint_that_was_cut_short_is_passed_over(tmp_path, left):
    for step in (2, 4, 10):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
        if step < 10:
            (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        elif left is not None:
            (folder / "trainer_state.json").write_text(left)
    assert find_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")
    assert not (tmp_path / "checkpoint-10").exists()


def test_without_a_whole_checkpoint_training_starts_anew(tmp_path):
    assert find_checkpoint(tmp_path / "work") is None
    (tmp_path / "checkpoint-1").mkdir()
    assert find_checkpoint(tmp_path) is None
