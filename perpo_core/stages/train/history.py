"""What a training tells while it runs, and what is kept of it."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from perpo_core.process.child import emit
from perpo_core.stages.train.displacement import describe_displacement
from perpo_core.stages.train.meters import LOSS_PART
from perpo_core.stages.train.objectives.metrics import LIST_METRICS
from schemas.artifact import RewardPoint, TrainPoint


class Reporter(TrainerCallback):
    """Turns the Trainer's log into events for the parent, and warns of displacement."""

    def __init__(self, num_steps: int, displacement_nats: float) -> None:
        self._num_steps, self._displacement_nats = num_steps, displacement_nats
        self._since_reading: list[TrainPoint] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        del args, control, kwargs
        if logs and "loss" in logs:
            self._since_reading += read_history(state.log_history[-1:])[0]
            emit("progress", done=state.global_step, total=self._num_steps, unit="steps",
                 loss=logs["loss"])  # fmt: skip
        if logs and "eval_reward" in logs:
            emit("log", message=f"step {state.global_step}: selection reward "
                 f"{logs['eval_reward']:.4f}")  # fmt: skip
            if warning := describe_displacement(self._since_reading, self._displacement_nats):
                emit("log", message=warning)
            self._since_reading.clear()


def read_history(log: list[dict[str, Any]]) -> tuple[list[TrainPoint], list[RewardPoint]]:
    """The Trainer's log as typed points."""
    history = [
        TrainPoint(
            step=entry["step"],
            loss=entry["loss"],
            grad_norm=float(entry.get("grad_norm", 0.0)),
            learning_rate=entry["learning_rate"],
            metrics={name: entry[name] for name in entry if is_metric(name)},
            tokens_per_second=entry["tokens_per_second"],
            peak_memory_gb=entry["peak_memory_gb"],
        )
        for entry in log
        if "loss" in entry
    ]
    readings = [
        RewardPoint(
            step=entry["step"],
            mean_reward=entry["eval_reward"],
            per_task={
                name.removeprefix("eval_reward_"): value
                for name, value in entry.items()
                if name.startswith("eval_reward_")
            },
        )
        for entry in log
        if "eval_reward" in entry
    ]
    return history, readings


def is_metric(name: str) -> bool:
    """Whether it is one of ours among what the Trainer logs."""
    return name in LIST_METRICS or name.startswith(LOSS_PART)


def choose_step(points: list[RewardPoint]) -> int:
    """The step with the best selection reward, the earliest of equals."""
    return max(points, key=lambda point: (point.mean_reward, -point.step)).step
