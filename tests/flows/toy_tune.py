"""Toy trials with planted objectives: two settings that pull grounding and OCR apart.

As tests/flows/toy.py, but training reads beta and gamma, and what evaluation measures is a function
of them: grounding wants a strong pull (beta near 1), OCR a weak one, and gamma has a best value in
between for both. `python -m tests.flows.toy_tune tune ...` is the command on them.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from perpo_core.stages.stage import StageContext
from schemas.artifact import Metric
from schemas.config import PolicyConfig, RefreshConfig
from schemas.tune_config import TuneConfig, TuneRange
from tests.flows import toy
from tests.flows.toy import install

RANGES = {
    "train.beta": TuneRange(low=0.01, high=1.0, log=True),
    "train.gamma": TuneRange(low=0.0, high=2.0),
}
OBJECTIVES = ["grounding.acc_at_50", "ocr.edit_distance"]


def compute_planted(beta: float, gamma: float) -> tuple[float, float]:
    """(grounding accuracy, OCR edit distance): 1 and 0 at their best."""
    pull = math.log10(beta) / 2 + 1  # 0 to 1
    off = (gamma - 0.7) ** 2
    return math.exp(-2 * (pull - 0.9) ** 2 - off), 1 - math.exp(-2 * (pull - 0.2) ** 2 - off)


def build_metric(value: float) -> Metric:
    return Metric(base=0.5, trained=value, delta=value - 0.5, delta_low=-1, delta_high=1, n=100)


def finish_evaluate(context: StageContext, evaluation: Any, parents: Any) -> Any:
    del parents
    accuracy, distance = compute_planted(context.config.train.beta, context.config.train.gamma)
    validation = {
        "grounding": {"acc_at_50": build_metric(accuracy)},
        "ocr": {"edit_distance": build_metric(distance)},
    }
    return evaluation.model_copy(update={"validation": validation})


def plant(set_item: Callable[[dict[Any, Any], Any, Any], None]) -> None:
    """Make the toy stages those of a planted problem."""
    read: toy.Read = lambda config: [config.train.beta, config.train.gamma]  # noqa: E731
    set_item(toy.READS, "train", read)
    set_item(toy.FINISH, "evaluate", finish_evaluate)


def build_config(store: Path, policy: Path, **tune: Any) -> RefreshConfig:
    settings = {"ranges": RANGES, "objectives": OBJECTIVES, "user": "hypervolume", **tune}
    return RefreshConfig(
        name="toy", store=store, policy=PolicyConfig(model=str(policy)), tune=TuneConfig(**settings)
    )


def write_config(folder: Path, store: Path, policy: Path, **tune: Any) -> Path:
    """The same as a file."""
    from perpo_core.configuration.words import write_toml_value

    lines = [f"{name} = {write_toml_value(value)}" for name, value in tune.items()]
    ranges = {name: each.model_dump(exclude_defaults=True) for name, each in RANGES.items()}
    path = folder / "toy.toml"
    path.write_text(
        f'name = "toy"\nstore = "{store}"\n[policy]\nmodel = "{policy}"\n[tune]\n'
        f"objectives = {write_toml_value(OBJECTIVES)}\n" + "\n".join(lines) + "\n"
        f"ranges = {write_toml_value(ranges)}\n"
    )
    return path


if __name__ == "__main__":
    from flows.commands.cli import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    install(dict.__setitem__)
    plant(dict.__setitem__)
    app()
