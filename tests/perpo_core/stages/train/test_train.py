"""Training: the loss, its metrics, and the whole stage."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from perpo_core.policy.loading import load_policy
from perpo_core.process import child
from perpo_core.process.parent import ChildFailed
from perpo_core.stages import collect, train
from perpo_core.stages.stage import find_or_make
from perpo_core.stages.train.budget import count_packed
from perpo_core.stages.train.data import RankedList
from perpo_core.stages.train.loader import Collator
from perpo_core.stages.train.packing import Branch, PackableList
from perpo_core.stages.train.profile import Profiler
from perpo_core.store.keys import hash_folder
from tests.history import keep_reproducible
from tests.perpo_core.processes import wait_for_children
from tests.perpo_core.small_store import build_context, read_rows
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import (
    LORA,
    NUM_LISTS,
    NUM_STEPS,
    SOURCE,
    TRAIN,
    build_trainer,
    copy_weights,
    read_points,
    same_weights,
)

pytestmark = pytest.mark.usefixtures("training_events")


# The loss


@pytest.mark.parametrize("changes", [{}, LORA, {"beta": 0.5, "gamma": 0.0}])
def test_the_first_loss_is_ln_2(trainable, tmp_path, changes):
    trainer = build_trainer(trainable, tmp_path, epochs=6, **changes)
    trainer.train()
    first, *_ = points = read_points(trainer)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert first["logps/chosen_change"] == pytest.approx(0, abs=1e-5)
    assert min(point["loss"] for point in points[-4:]) < 0.6  # and it falls


def test_micro_batches_do_not_show(trainable, tmp_path):
    """4 x 1, 2 x 2 and 1 x 4 lists a step, the last step of an epoch one of 3 lists.

    Then 4 lists that are too many tokens for one forward pass.
    """
    runs = []
    for micro, tokens in ((4, 10_000), (2, 10_000), (1, 10_000), (4, 200), (4, 1)):
        trainer = build_trainer(
            trainable, tmp_path / f"{micro}-{tokens}", micro_batch_lists=micro,
            micro_batch_tokens=tokens,
        )  # fmt: skip
        trainer.train()
        weights = torch.cat([w.flatten() for w in copy_weights(trainer.model).values()]).double()
        runs.append((read_points(trainer), weights))
    points, weights = runs[0]
    assert [point["step"] for point in points] == [1, 2, 3, 4]
    for other_points, other_weights in runs[1:]:
        # Before the first update every log-ratio is 0 up to rounding, and its sign means nothing.
        for name in ("rewards/accuracies", "list/ndcg", "list/kendall_tau"):
            points[0][name] = other_points[0][name] = 0.5
        for point, other in zip(points, other_points, strict=True):
            # exp(s) makes a relative error of an absolute one in s.
            assert other.pop("kl") == pytest.approx(point["kl"], rel=1e-4, abs=1e-5)
            other["kl"] = point["kl"]
            assert other == pytest.approx(point, rel=2e-6, abs=1e-5)
        assert (weights - other_weights).norm() / weights.norm() < 1e-6


def test_rewards_stay_with_their_lists_when_shuffled(trainable, tmp_path):
    """The released PerPO code gives every list the rewards of one and the same record."""
    context, _, preferences = trainable
    table = read_rows(context.store, preferences)
    expected = {row["sample_id"]: row for row in table}
    trainer = build_trainer(trainable, tmp_path, micro_batch_lists=2)
    for i, row in enumerate(table):
        ranked = trainer.train_dataset[i]
        assert ranked.list_id == row["sample_id"]
        assert list(ranked.rewards_G) == [answer["reward"] for answer in row["responses"]]
        assert [list(branch.ids) for branch in ranked.packable.branches] == [
            answer["token_ids"] for answer in row["responses"]
        ]
    seen = []
    for batch in (part for micro in trainer.get_train_dataloader() for part in micro["parts"]):
        rewards_PG, mask_PG = batch["batch"].rewards_PG, batch["batch"].packed.mask_BG
        lengths_PG = batch["batch"].num_tokens_PG
        for p, list_id in enumerate(batch["list_ids"]):
            answers = expected[list_id]["responses"]
            assert rewards_PG[p][mask_PG[p]].tolist() == [a["reward"] for a in answers]
            assert lengths_PG[p][mask_PG[p]].tolist() == [len(a["token_ids"]) for a in answers]
            seen.append(list_id)
    assert sorted(seen) == sorted(expected)
    assert seen != list(expected)


def test_a_loss_that_is_not_finite_is_refused_with_its_list(trainable, tmp_path):
    trainer = build_trainer(trainable, tmp_path, batch_lists=1, micro_batch_lists=1)
    lists = trainer.train_dataset
    lists.ref_logps_PG[3] = [math.nan] * len(lists.ref_logps_PG[3])
    with pytest.raises(ValueError, match=lists[3].list_id):
        trainer.train()


def test_a_gradient_that_is_not_finite_is_refused_before_it_is_applied(trainable, tmp_path):
    """A finite loss may have one, and a step along it leaves no weight finite."""
    trainer = build_trainer(trainable, tmp_path, batch_lists=1, micro_batch_lists=1)
    weight = next(p for p in trainer.model.parameters() if p.requires_grad)
    weight.register_hook(lambda grad: grad * math.inf)
    with pytest.raises(ValueError, match="the gradient of 1 lists is not finite at step 0") as said:
        trainer.train()
    assert any(trainer.train_dataset[i].list_id in str(said.value) for i in range(NUM_LISTS))
    assert all(torch.isfinite(weight).all() for weight in trainer.model.parameters())


# The stage


def test_the_stage_keeps_the_start_when_nothing_beats_it(trainable):
    """Steps too small to change an answer: of equals, step 0 is the earliest."""
    context, samples, preferences = trainable
    slow = context.config.train.model_copy(update={"learning_rate": 1e-12})
    context = replace(context, config=context.config.model_copy(update={"train": slow}))
    messages: list[str] = []
    done: list[tuple[float, float, str]] = []
    context = replace(context, log=messages.append, progress=lambda *args: done.append(args))
    checkpoint = find_or_make(context, train, samples, preferences).artifact
    folder = context.store.path(checkpoint, "model")
    assert checkpoint.chosen_step == 0
    assert any("the start is kept" in message for message in messages)
    start, _ = load_policy(context.policy.folder, "float32")
    kept, _ = load_policy(folder, "float32")
    assert same_weights(copy_weights(kept), copy_weights(start))
    assert checkpoint.policy_digest == hash_folder(folder)
    assert checkpoint.base_policy_digest == context.policy.digest
    assert [point.step for point in checkpoint.history] == [1, 2, 3, 4]
    assert checkpoint.history[0].loss == pytest.approx(math.log(2), abs=1e-6)
    assert [point.step for point in checkpoint.readings] == [0, 1, 2, 3, 4]
    assert [args for args in done if args[2] == "steps"] == [(n, 4, "steps") for n in (1, 2, 3, 4)]
    assert not (folder.parent / "work").exists()
    assert find_or_make(context, train, samples, preferences).reused


def test_curves_are_there_for_tensorboard(trainable):
    context, samples, preferences = trainable
    settings = context.config.train.model_copy(update={"trackers": ["tensorboard"], "seed": 3})
    context = replace(context, config=context.config.model_copy(update={"train": settings}))
    checkpoint = find_or_make(context, train, samples, preferences).artifact
    curves = EventAccumulator(str(train.find_curves(context, checkpoint.key)))
    curves.Reload()
    losses = [(event.step, event.value) for event in curves.Scalars("train/loss")]
    assert losses == [(point.step, pytest.approx(point.loss)) for point in checkpoint.history]
    assert {"train/grad_norm", "eval/reward"} <= set(curves.Tags()["scalars"])


@pytest.mark.slow
def test_a_killed_stage_ends_as_a_straight_one(tmp_path, policy, processor):
    """SIGKILL of the training process after its first checkpoints; then the same command again."""

    def run(root: Path, progress: Callable[..., None]) -> Any:
        source = SOURCE | {"selection": {}}  # so that the last weights are the result
        context = build_context(root, source=source, train=TRAIN | LORA)
        context = replace(context, policy=policy, progress=progress)
        samples = find_or_make(context, collect).artifact
        preferences = commit_lists(context, samples, processor.tokenizer, NUM_LISTS)
        return find_or_make(context, train, samples, preferences).artifact

    def kill(done: float, total: float, unit: str) -> None:
        if (done, unit) == (3, "steps"):
            wait_for_children(train.CHILD, 1)[0].kill()

    straight = run(tmp_path / "straight", lambda *args: None)
    with pytest.raises(ChildFailed, match="SIGKILL"):
        run(tmp_path / "killed", kill)
    steps: list[float] = []

    def note(done: float, total: float, unit: str) -> None:
        if unit == "steps":
            steps.append(done)

    again = run(tmp_path / "killed", note)
    assert steps and 1 not in steps  # it did not start anew
    assert again.digest == straight.digest
    assert keep_reproducible(again.history) == keep_reproducible(straight.history)
    assert again.chosen_step == NUM_STEPS


def test_the_key_covers_what_the_result_depends_on(trainable):
    context, samples, preferences = trainable

    def key_of(**sections: Any) -> str:
        sections = {"source": SOURCE, "train": TRAIN} | sections
        config = build_context(context.store.root, **sections).config
        return train.compute_key(config, context.policy, samples, preferences)

    base = key_of()
    alike: list[dict[str, Any]] = [
        {"threads": 2}, {"displacement_nats": 9.0}, {"micro_batch_lists": 1},
        {"micro_batch_tokens": 1}, {"gradient_checkpointing": True}, {"processes": 2},
        {"processes": 2, "sharding": "fsdp"}, {"rpo_eta": 0.5, "mrpo_clip": 0.2},
        {"degrees": 3, "degree_learning_rate": 0.1},
    ]  # fmt: skip
    for changes in alike:
        assert key_of(train=TRAIN | changes) == base
    assert key_of(generate={"processes": 7}) == base
    others: list[Any] = [
        {"train": TRAIN | {"beta": 0.2}}, {"train": TRAIN | {"gamma": 0.2}},
        {"train": TRAIN | {"seed": 1}},
        {"train": TRAIN | {"degree_weight": 1.0}},
        {"train": TRAIN | {"degree_weight": 1.0, "degrees": 3}},
        {"train": TRAIN | {"degree_weight": 1.0, "degree_learning_rate": 0.1}},
        {"policy": {"dtype": "bfloat16"}}, {"policy": {"box_format": "pixels"}},
        {"score": {"counting": "exact_match"}}, {"generate": {"max_tokens": 8}},
    ]  # fmt: skip
    assert len({base, *(key_of(**sections) for sections in others)}) == 1 + len(others)


# Ahead of the trainer


def test_lists_prepared_by_other_processes_train_alike(trainable, tmp_path):
    """In a process of its own, as training is: whose forks inherit no threads of earlier tests."""
    with ProcessPoolExecutor(1, get_context("spawn"), _tell_nobody) as process:
        process.submit(_train_ahead, trainable, tmp_path).result()


def _tell_nobody() -> None:
    child._events_fd = os.open(os.devnull, os.O_WRONLY)


def _train_ahead(trainable: Any, folder: Path) -> None:
    """Also from a checkpoint, and with crops."""
    changes: dict[str, Any] = {"conditional_weight": 1.0}
    straight = build_trainer(trainable, folder / "a", **changes)
    straight.train()
    ahead = build_trainer(trainable, folder / "b", loader_workers=2, **changes)
    assert ahead.train_dataset.ref_logps_PG == straight.train_dataset.ref_logps_PG
    ahead.train()
    assert read_points(ahead) == read_points(straight)
    resumed = build_trainer(trainable, folder / "b", resumed=True, loader_workers=2, **changes)
    resumed.train(resume_from_checkpoint=str(folder / "b" / "checkpoint-3"))
    assert read_points(resumed) == read_points(straight)


def test_lists_of_similar_length_share_a_pass():
    lists = [
        RankedList(str(n), PackableList([1] * n, [Branch([2, 3])]), [1.0]) for n in (9, 2, 8, 3, 7)
    ]
    parts = Collator(0, max_lists=2, max_tokens=1000, count=count_packed)(lists)["parts"]
    assert [part["list_ids"] for part in parts] == [["2", "3"], ["7", "8"], ["9"]]


def test_a_profile_of_a_few_steps_is_written_for_perfetto(trainable, tmp_path, training_events):
    trainer = build_trainer(trainable, tmp_path, epochs=3)
    trainer.add_callback(Profiler(tmp_path / "profile"))
    trainer.train()
    [path] = (tmp_path / "profile").iterdir()
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    assert path.name == "rank-0.pt.trace.json.gz"
    assert sum("ProfilerStep" in str(event.get("name")) for event in events) >= 3
