"""`make bench-tune`: what `perpo tune` chooses, against chance, with real trials on embedded data.

For each of five seeds two studies of the same trials in number: one by the learned utility of a
simulated user, one at random; the first ones are the same. Learning rate and likelihood weight are
tried on a grid, so that trials of any two studies that meet are trained once. Held against each
other, by the user's own measure: what the first study chose, and the best trial of the second one,
which only somebody who knows that measure would find. The last line is one JSON object; the exit
status is 0 where the choice was as good in four of the five.

The store is kept, so that the same command goes on after a kill; `--store` says where.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perpo_core.store.store import Store
from perpo_core.tuning.standing import Standing, compute_standing
from perpo_core.tuning.study import list_studies
from tests.flows.whole import run_perpo

DEFAULT_CONFIG = Path("infra/configs/default.toml")
NUM_SEEDS, MIN_AS_GOOD = 5, 4
SMALL = (
    "source.train={ grounding = 640, ocr = 96, counting = 128 }",
    "source.selection={ grounding = 96, ocr = 48, counting = 48 }",
    "source.validation={ grounding = 256, ocr = 128, counting = 128 }",
    "source.test={ grounding = 8, ocr = 8, counting = 8 }",
    "train.eval_every_steps=10",
    "train.eval_prompts=192",
)
TUNE = (
    'tune.objectives=["grounding.sampled_reward", "ocr.edit_distance", "retention"]',
    "tune.ranges={ "
    '"train.learning_rate" = { low = 5e-5, high = 4.5e-4, step = 1e-4 }, '
    '"train.nll_weight" = { low = 0.0, high = 2.0, step = 0.5 } }',
    "tune.comparisons=6",
)


@dataclass(frozen=True)
class Row:
    """What a seed came to, by the user's measure; more is better."""

    seed: int
    chosen: float
    best_at_random: float
    chosen_trial: int
    settings: dict[str, Any]
    comparisons: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    parser.add_argument("--store", type=Path, default=Path("build/bench-tune"))
    parser.add_argument("--user", default="hypervolume")
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--startup", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of a training")
    rows = list(measure(parser.parse_args()))
    num_as_good = sum(row.chosen >= row.best_at_random for row in rows)
    print(json.dumps({"as_good": num_as_good, "seeds": [asdict(row) for row in rows]}))
    sys.exit(num_as_good < MIN_AS_GOOD)


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """A row for each seed, said as soon as it is known."""
    for seed in range(NUM_SEEDS):
        learned = run_study(arguments, seed, "utility")
        at_random = run_study(arguments, seed, "random")
        row = compare(seed, learned, at_random)
        print(
            f"seed {seed}: chosen {row.chosen:.4f}, best at random {row.best_at_random:.4f}",
            flush=True,
        )
        yield row


def run_study(arguments: argparse.Namespace, seed: int, optimiser: str) -> Standing:
    """`perpo tune` to its end; the trials of other studies in this store are reused."""
    name = f"{optimiser}-{seed}"
    settings = (
        *SMALL, *TUNE, f"store={arguments.store}", f"name={name}", f"tune.seed={seed}",
        f"tune.optimiser={optimiser}", f"tune.user={arguments.user}",
        f"tune.trials={arguments.trials}", f"tune.startup={arguments.startup}",
        f"train.threads={arguments.threads}",
    )  # fmt: skip
    overrides = [word for each in settings for word in ("--set", each)]
    run_perpo("tune", arguments.config, "--no-browser", *overrides)
    studies = list_studies(Store(arguments.store))
    study = next(each for each in studies if each.record.config.name == name)
    return compute_standing(study)


def compare(seed: int, learned: Standing, at_random: Standing) -> Row:
    """Both in the scale of the first trials, which they share."""
    chosen = learned.chosen
    assert chosen is not None and len(learned.done) == len(at_random.done)
    return Row(
        seed=seed,
        chosen=rate(learned, chosen.number),
        best_at_random=max(rate(at_random, trial.number) for trial in at_random.done),
        chosen_trial=chosen.number,
        settings=dict(chosen.settings),
        comparisons=len(learned.comparisons),
    )


def rate(standing: Standing, number: int) -> float:
    """A single trial, as the simulated user sees it."""
    rating = standing.rate([number])
    assert rating is not None
    return rating


if __name__ == "__main__":
    main()
