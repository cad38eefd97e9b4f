"""What a training tells while it runs, and what is kept of it."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from perpo_core.child import emit
from schemas.artifact import TrainPoint, ValidationPoint


class Reporter(TrainerCallback):
    """Turns the Trainer's log into events for the parent."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        del args, control, kwargs
        if logs and "loss" in logs:
            emit("progress", done=state.global_step, total=self._num_steps, unit="steps",
                 loss=logs["loss"])  # fmt: skip
        if logs and "eval_reward" in logs:
            emit("log", message=f"step {state.global_step}: validation reward "
                 f"{logs['eval_reward']:.4f}")  # fmt: skip


def read_history(log: list[dict[str, Any]]) -> tuple[list[TrainPoint], list[ValidationPoint]]:
    """The Trainer's log as typed points."""
    history = [
        TrainPoint(
            step=entry["step"],
            loss=entry["loss"],
            grad_norm=float(entry.get("grad_norm", 0.0)),
            learning_rate=entry["learning_rate"],
            reward_margin=entry["reward_margin"],
            reward_accuracy=entry["reward_accuracy"],
            best_logp_change=entry["best_logp_change"],
            worst_logp_change=entry["worst_logp_change"],
        )
        for entry in log
        if "loss" in entry
    ]
    validation = [
        ValidationPoint(
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
    return history, validation


def choose_step(points: list[ValidationPoint]) -> int:
    """The step with the best validation reward, the earliest of equals."""
    return max(points, key=lambda point: (point.mean_reward, -point.step)).step
