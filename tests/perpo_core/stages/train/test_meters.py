"""What the trainer logs of a step beside the loss: which metrics, how fast, how much memory."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import psutil
import pytest
from transformers import TrainerCallback

from perpo_core.stages.train import meters
from perpo_core.stages.train.history import read_history
from perpo_core.stages.train.objectives.metrics import LIST_METRICS, WITHOUT_REFERENCE
from tests.perpo_core.stages.train.small_lists import ScriptedSelection
from tests.perpo_core.stages.train.training import NUM_LISTS, NUM_STEPS, build_trainer

pytestmark = pytest.mark.usefixtures("training_events")


class Clock(TrainerCallback):
    """Stands still but for a second a step, and what else is told to take time."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def spend(self, *args: Any, **kwargs: Any) -> None:
        self.now_s += 1000.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.now_s += 1.0


def train(setting: Any, *args: Any, **changes: Any) -> list[Any]:
    trainer = build_trainer(setting, *args, **changes)
    trainer.train()
    return read_history(trainer.state.log_history)[0]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, set(LIST_METRICS)),
        ({"objective": "sft"}, set(WITHOUT_REFERENCE)),
        ({"objective": "sft", "anchor_weight": 0.5}, {*LIST_METRICS, "loss/sft", "loss/anchor"}),
    ],
)
def test_metrics_that_need_a_reference_are_logged_where_there_is_one(
    trainable, tmp_path, changes, names
):
    history = train(trainable, tmp_path, epochs=1, **changes)
    assert [set(point.metrics) for point in history] == [names] * 2


def test_the_parts_of_a_loss_add_up(trainable, tmp_path):
    weights = {"nll_weight": 0.3, "conditional_weight": 0.5, "anchor_weight": 0.25}
    for point in train(trainable, tmp_path, **weights):
        parts = {name: value for name, value in point.metrics.items() if name.startswith("loss/")}
        assert set(parts) == {"loss/perpo", "loss/nll", "loss/conditional", "loss/anchor"}
        assert sum(parts.values()) == pytest.approx(point.loss, rel=1e-5)


@pytest.mark.parametrize("micro_batch_lists", [1, 2, 8])
def test_a_step_logs_the_mean_over_its_lists(trainable, tmp_path, micro_batch_lists):
    """Before the first update the policy is the reference; the best answer stands first."""
    trainer = build_trainer(
        trainable, tmp_path, epochs=1, batch_lists=8, micro_batch_lists=micro_batch_lists
    )
    trainer.train()
    (point,), _ = read_history(trainer.state.log_history)
    logps_PG = trainer.train_dataset.ref_logps_PG
    assert len(logps_PG) == NUM_LISTS
    for name, place in (("logps/chosen", 0), ("logps/rejected", -1)):
        expected = fmean(logps_G[place] for logps_G in logps_PG)
        assert point.metrics[name] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("objective", ["perpo", "mdpo"])
def test_speed_is_tokens_over_the_time_of_steps_alone(trainable, tmp_path, monkeypatch, objective):
    """Every token of every list once an epoch; a crop's tokens too. Evaluating, saving: 1000 s."""
    clock = Clock()
    monkeypatch.setattr(meters, "time", clock)
    selection = ScriptedSelection([0.1] * (1 + NUM_STEPS), look=clock.spend)
    trainer = build_trainer(trainable, tmp_path, selection, callbacks=(clock,), objective=objective)
    save = trainer._save_checkpoint

    def save_slowly(*args: Any) -> None:
        save(*args)
        clock.spend()

    monkeypatch.setattr(trainer, "_save_checkpoint", save_slowly)
    trainer.train()
    history, _ = read_history(trainer.state.log_history)
    assert clock.now_s > 100 + 2 * NUM_STEPS * 1000
    lists = [trainer.train_dataset[i] for i in range(len(trainer.train_dataset))]
    parts = lists + [ranked.crop for ranked in lists if ranked.crop is not None]
    num_tokens = sum(part.packable.lengths.total for part in parts)
    assert len(parts) == len(lists) * (2 if objective == "mdpo" else 1)
    speeds = [point.tokens_per_second or 0.0 for point in history]
    assert sum(speeds[:2]) == sum(speeds[2:]) == num_tokens  # a second a step, two an epoch


def test_peak_memory_is_that_of_the_process(trainable, tmp_path):
    before = psutil.Process().memory_info().rss
    history = train(trainable, tmp_path, epochs=1)
    peak_bytes = history[-1].peak_memory_gb * 1e9
    assert 0.9 * before < peak_bytes < psutil.virtual_memory().total
