"""Training in two processes (torchrun, gloo) is training in one."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch import Tensor

from perpo_core.process.parent import ChildFailed
from perpo_core.stages import collect, train
from perpo_core.stages.stage import find_or_make
from perpo_core.stages.train.loader import StepSampler
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import LORA, NUM_LISTS, SOURCE, TRAIN

# Steps of 3, 3 and 1 lists: in the last one the second process has none.
SETTINGS = TRAIN | {"batch_lists": 3, "micro_batch_lists": 1, "epochs": 1, "patience": 9}


def run_stage(
    root: Path, policy: Any, processor: Any, selection: Any = None, **changes: Any
) -> Any:
    """(context, checkpoint) of a training; without selection, the last weights are the result."""
    source = SOURCE | {"selection": selection or {}, "validation": {"grounding": 3}}
    context = replace(build_context(root, source=source, train=SETTINGS | changes), policy=policy)
    samples = find_or_make(context, collect).artifact
    preferences = commit_lists(context, samples, processor.tokenizer, NUM_LISTS)
    return context, find_or_make(context, train, samples, preferences).artifact


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"conditional_weight": 0.5, "degree_weight": 0.5}, id="crops and degrees"),
        pytest.param(LORA | {"save": "merged"}, id="lora", marks=pytest.mark.slow),
        pytest.param(
            {"sharding": "fsdp", "degree_weight": 0.5}, id="sharded", marks=pytest.mark.slow
        ),
    ],
)
def test_two_processes_train_as_one(tmp_path, policy, processor, changes):
    runs = [
        run_stage(tmp_path / str(number), policy, processor, processes=number, **settings)
        for number, settings in ((1, changes | {"sharding": "none"}), (2, changes))
    ]
    alone, together = (checkpoint for _, checkpoint in runs)
    assert len(alone.history) == len(together.history) == 3
    for one, two in zip(alone.history, together.history, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=1e-5)
        assert two.grad_norm == pytest.approx(one.grad_norm, rel=1e-3)
        assert two.metrics == pytest.approx(one.metrics, rel=1e-3, abs=1e-4)
    assert together.degree_reading == alone.degree_reading
    assert bool(alone.degree_reading) == ("degree_weight" in changes)
    weights, others = load_weights(runs)
    moved = compute_distance(weights, load_file(policy.folder / "model.safetensors"))
    assert moved > 0.01
    assert compute_distance(weights, others) < 1e-2 * moved


def load_weights(runs: Any) -> list[dict[str, Tensor]]:
    """The weights that each of the runs chose."""
    return [
        load_file(context.store.path(checkpoint, "model/model.safetensors"))
        for context, checkpoint in runs
    ]


def compute_distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return math.sqrt(sum((a[name] - b[name]).double().square().sum().item() for name in a))


@pytest.mark.parametrize("sharding", [pytest.param("none", marks=pytest.mark.slow), "fsdp"])
def test_two_processes_choose_the_checkpoint_of_one(tmp_path, policy, processor, sharding):
    """Each answers its share of the selection prompts, or all answer all of sharded weights."""
    runs = [
        run_stage(
            tmp_path / str(number), policy, processor, SOURCE["selection"], processes=number,
            sharding=chosen, learning_rate=3e-3, adapter="full",
        )
        for number, chosen in ((1, "none"), (2, sharding))
    ]  # fmt: skip
    alone, together = (checkpoint for _, checkpoint in runs)
    assert together.readings == alone.readings
    assert len(alone.readings) == 4
    assert together.chosen_step == alone.chosen_step > 0
    weights, others = load_weights(runs)
    assert compute_distance(weights, others) < 0.05 * compute_distance(
        weights, load_file(policy.folder / "model.safetensors")
    )


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_and_is_said(tmp_path, policy, processor):
    with pytest.raises(ChildFailed, match="is not finite at step"):
        run_stage(tmp_path, policy, processor, processes=2, learning_rate=1.0, max_grad_norm=1e6,
                  epochs=40, eval_every_steps=1000)  # fmt: skip


# What main returns says so when it is torn down, where a process group would wait for its threads.
RANK = """
import sys
from perpo_core.stages.train.ranks import run_as_one_of_many
class Kept:
    def __del__(self):
        print("torn down")
def main():
    print("ran")
    if sys.argv[1] == "fails":
        raise ValueError("a bad list")
    return Kept()
run_as_one_of_many(main)
"""


@pytest.mark.parametrize(
    ("world", "how", "returncode", "printed"),
    [(1, "works", 0, "ran\ntorn down\n"), (2, "works", 0, "ran\n"), (2, "fails", 1, "ran\n")],
)
def test_one_of_several_processes_ends_without_teardown(world, how, returncode, printed):
    """Teardown of a process group can wait for ever for threads that wait for the interpreter."""
    ended = subprocess.run(
        [sys.executable, "-c", RANK, how], env=os.environ | {"WORLD_SIZE": str(world)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (returncode, printed)
    assert ("ValueError: a bad list" in ended.stderr) == (how == "fails")


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_out_every_step(monkeypatch, world):
    """Each list once an epoch, steps of the same lists whatever the number of processes."""
    monkeypatch.setenv("WORLD_SIZE", str(world))
    shares = []
    for rank in range(world):
        monkeypatch.setenv("RANK", str(rank))
        sampler = StepSampler(num_lists=10, batch_lists=4, seed=3)
        sampler.set_epoch(2)
        assert len(sampler) == 3
        shares.append(list(sampler))
    steps = [sorted(chain(*members)) for members in zip(*shares, strict=True)]
    assert sorted(chain(*steps)) == list(range(10))
    monkeypatch.delenv("RANK")
    monkeypatch.delenv("WORLD_SIZE")
    whole = StepSampler(num_lists=10, batch_lists=4, seed=3)
    whole.set_epoch(2)
    assert steps == [sorted(step) for step in whole]
    assert [len(step) for step in whole] == [4, 4, 2]
    assert list(whole) != list(StepSampler(num_lists=10, batch_lists=4, seed=3))
