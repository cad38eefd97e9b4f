"""Toy trials of methods with planted gains: real predictions from a known law.

As tests/flows/toy.py, but what the trained policy answers depends on objective, learning rate and
seeds: each objective has a gain, and a learning rate at which it reaches it. `python -m
tests.flows.toy_compare compare ...` is the command on them.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from perpo_core.configuration.words import write_toml_value
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_digest
from schemas.arrow import PREDICTIONS
from schemas.artifact import Metric
from schemas.base import JUDGING_SPLIT
from schemas.compare_config import CompareConfig
from schemas.config import EvaluateConfig, PolicyConfig, RefreshConfig
from tests.flows import toy
from tests.flows.toy import install

GAINS = {"sft": 0.05, "dpo": 0.1, "perpo": 0.2}
BEST_RATES = {"sft": 1e-5, "dpo": 1e-4, "perpo": 1e-5}
RATES = [1e-5, 1e-4]
NUM_PROMPTS = 60
TASKS = {"grounding": NUM_PROMPTS, "ocr": 10}
METHODS: dict[str, Any] = {
    "sft": {"label": "SFT on the best", "settings": {"train.objective": "sft"}},
    "perpo": {"settings": {"train.objective": "perpo"}},
}
DPO: dict[str, Any] = {"dpo": {"settings": {"train.objective": "dpo"}}}


def compute_gain(config: RefreshConfig) -> float:
    """A tenth of it away from its best learning rate."""
    train = config.train
    best = math.isclose(train.learning_rate, BEST_RATES[train.objective])
    return GAINS[train.objective] * (1 if best else 0.1)


def write_rows(config: RefreshConfig, split: str) -> Iterator[dict[str, Any]]:
    """Both policies' answers to the prompts of a split."""
    gain, seed = compute_gain(config), config.train.seed + 100 * config.generate.seed
    for task, num_prompts in TASKS.items():
        for prompt in range(num_prompts):
            rng = np.random.default_rng([prompt, len(task), len(split)])
            skill = rng.uniform(0.2, 0.7)
            for policy, added in (("base", 0.0), ("trained", gain if task == "grounding" else 0.0)):
                of_seed = np.random.default_rng([prompt, seed, policy == "trained"])
                luck = 0.0 if policy == "base" else of_seed.normal(0, 0.02)
                for index in range(-1, config.evaluate.num_samples):
                    value = float(np.clip(skill + added + luck + 0.01 * index, 0, 1))
                    yield {
                        "sample_id": f"{task}-{split}-{prompt:03}",
                        "image_id": f"{task}-{split}-{prompt // 2}",
                        "task": task, "split": split, "policy": policy, "index": index,
                        "text": f"{value:.3f}", "reward": value, "measure": value,
                        "rewards": [("iou", value)], "error": None,
                    }  # fmt: skip


def finish_collect(context: StageContext, samples: Any, parents: Any) -> Any:
    del context, parents
    splits = ("train", JUDGING_SPLIT, "test")
    per_split = {f"{task}/{split}": n for task, n in TASKS.items() for split in splits}
    return samples.model_copy(update={"per_split": per_split})


def finish_evaluate(context: StageContext, evaluation: Any, parents: Any) -> Any:
    """Real predictions, and the one metric that chooses."""
    del parents
    splits = context.config.evaluate.splits
    rows = [list(write_rows(context.config, split)) for split in splits]
    workspace = context.open_workspace(evaluation.kind, evaluation.key)
    files = [workspace.write_groups("predictions.parquet", PREDICTIONS, iter(rows))]
    value = 0.5 + compute_gain(context.config)
    metric = Metric(base=0.5, trained=value, delta=value - 0.5, delta_low=0, delta_high=1, n=9)
    validation = {"grounding": {"acc_at_50": metric}} if JUDGING_SPLIT in splits else {}
    update = {"files": files, "digest": compute_digest(files), "metrics": {}, "headroom_closed": {}}
    return evaluation.model_copy(update={**update, "validation": validation})


def plant(set_item: Callable[[dict[Any, Any], Any, Any], None]) -> None:
    """Make the toy stages those of a planted problem."""
    train: toy.Read = lambda config: [  # noqa: E731
        config.train.objective, config.train.learning_rate, config.train.seed,
    ]  # fmt: skip
    set_item(toy.READS, "train", train)
    set_item(toy.READS, "evaluate", lambda config: [
        config.evaluate.splits, config.evaluate.num_samples,
    ])  # fmt: skip
    set_item(toy.FINISH, "collect", finish_collect)
    set_item(toy.FINISH, "evaluate", finish_evaluate)


def build_config(store: Path, policy: Path, **compare: Any) -> RefreshConfig:
    settings: dict[str, Any] = {
        "methods": METHODS,
        "sweep": {"train.learning_rate": RATES},
        "seeds": 3,
        "resamples": 400,
        "best_of": 6,
        "look": False,
        **compare,
    }
    return RefreshConfig(
        name="toy",
        store=store,
        policy=PolicyConfig(model=str(policy)),
        evaluate=EvaluateConfig(bootstrap_resamples=200),
        compare=CompareConfig(**settings),
    )


def write_config(folder: Path, store: Path, policy: Path) -> Path:
    """The same as a file."""
    config = build_config(store, policy)
    compare = config.compare.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    lines = [f"{name} = {write_toml_value(value)}" for name, value in compare.items()]
    path = folder / "toy.toml"
    path.write_text(
        f'name = "toy"\nstore = "{store}"\n[policy]\nmodel = "{policy}"\n[evaluate]\n'
        "bootstrap_resamples = 200\n[compare]\n" + "\n".join(lines) + "\n"
    )
    return path


if __name__ == "__main__":
    from flows.commands.cli import app

    signal.signal(signal.SIGINT, signal.default_int_handler)
    install(dict.__setitem__)
    plant(dict.__setitem__)
    app()
