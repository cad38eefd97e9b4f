"""Degraded versions on their way: made once, kept, read by list, trained with, told in the end."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from perpo_core.bootstrap.model import END
from perpo_core.perception.boxes import Frame, compute_iou, parse_box
from perpo_core.stages import collect, train
from perpo_core.stages.stage import find_or_make
from perpo_core.stages.train import version_sidecar
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.degree_head import DegreeHead
from perpo_core.stages.train.degree_telling import attach_degrees
from perpo_core.stages.train.version_tables import VersionTable, write_versions
from perpo_core.stages.train.versions import NO_ANSWER, SPECIAL, VersionMaker, count_units
from schemas.run import PolicyRef
from schemas.train_config import TrainConfig
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import (
    LORA,
    NUM_LISTS,
    SOURCE,
    TRAIN,
    build_job,
    build_trainer,
    copy_weights,
    read_points,
)

pytestmark = pytest.mark.usefixtures("training_events")
DEGREES: dict[str, Any] = {"degree_weight": 0.5, "degree_learning_rate": 1e-2}
# Of the lists' best answers two are boxes: "[0.25, 0.50, 0.75, 1.00]", as the format writes it, and
# "[0.1, 0.2, 0.3, 0.4]", which it writes otherwise.
WITH_VERSIONS, NO_BOX = 2, 5


@pytest.fixture(scope="module")
def job(trainable, tmp_path_factory) -> Any:
    return build_job(trainable, tmp_path_factory.mktemp("job"), TrainConfig(**(TRAIN | DEGREES)))


@pytest.fixture
def lists(job, processor) -> RankedLists:
    return RankedLists(job.lists, job.samples.packs, processor)


@pytest.fixture
def maker(job, processor) -> VersionMaker:
    return VersionMaker(job, processor.tokenizer)


# Made


def test_the_versions_of_a_list_in_tokens(maker, lists, processor):
    """Only worse ones where the best answer is what the tokenizer makes of its text."""
    rows = [maker.make_of_list(index) for index in range(NUM_LISTS)]
    assert [row["sample_id"] for row in rows] == [lists.read_id(i) for i in range(NUM_LISTS)]
    assert [[each["degree"] for each in row["versions"]] for row in rows[:2]] == [
        [1, 2, 3], [0, 1, 2, 3],
    ]  # fmt: skip
    assert rows[1]["versions"][0]["text"] == "[0.10, 0.20, 0.30, 0.40]"
    assert [row["reason"] for row in rows] == [None] * 2 + ["no box is stated"] * NO_BOX
    frame = Frame(64, 64)
    for row in rows[:2]:
        best = "[0.25, 0.50, 0.75, 1.00]" if row is rows[0] else "[0.1, 0.2, 0.3, 0.4]"
        for each in row["versions"]:
            assert each["token_ids"] == processor.tokenizer(each["text"] + END)["input_ids"]
            boxes = [parse_box(text, "norm1", frame)[0] for text in (best, each["text"])]
            assert boxes[0] and boxes[1]
            low = (3 - each["degree"]) / 4
            assert low <= compute_iou(boxes[0], boxes[1]) <= low + 0.25


def test_versions_are_those_of_the_sample_and_the_seed(maker, job, processor):
    again = VersionMaker(job, processor.tokenizer)
    assert again.make_of_list(0) == maker.make_of_list(0)
    config = job.config.train.model_copy(update={"seed": 1})
    config = job.config.model_copy(update={"train": config})
    other = VersionMaker(job.model_copy(update={"config": config}), processor.tokenizer)
    assert other.make_of_list(0)["versions"] != maker.make_of_list(0)["versions"]


def test_words_that_spell_a_special_token_make_no_version(maker, lists):
    """Tokenised again they would be one, an image's say, and break the pass."""
    row = lists.load_row(0) | {"task": "ocr", "target": {}}
    made, reason = maker.make(row, "one two three four five six <image>")
    assert (made, reason) == (None, SPECIAL)
    assert maker.make(row, "<think>not this")[1] == NO_ANSWER


def test_rare_is_what_few_answers_of_a_task_hold():
    counts = count_units(
        [("ocr", "tea tea Milk"), ("ocr", "the milk"), ("vqa", "the tea"), ("grounding", "[1, 2]")]
    )
    assert counts["ocr"] == {"tea": 1, "milk": 2, "the": 1}
    assert counts["vqa"] == {"the": 1, "tea": 1} and not counts["grounding"]


# Kept


def run_stage(root: Path, policy: PolicyRef, processor: Any, **changes: Any) -> Any:
    """(context, checkpoint, what was said); the last weights are the result."""
    said: list[str] = []
    source = SOURCE | {"selection": {}, "validation": {"grounding": 2, "ocr": 1, "counting": 1}}
    context = build_context(root, source=source, train=TRAIN | DEGREES | {"epochs": 1} | changes)
    context = replace(context, policy=policy, log=said.append)
    samples = find_or_make(context, collect).artifact
    preferences = commit_lists(context, samples, processor.tokenizer, NUM_LISTS)
    return context, find_or_make(context, train, samples, preferences).artifact, said


@pytest.mark.slow
@pytest.mark.parametrize("changes", [LORA, LORA | {"save": "merged"}], ids=["adapter", "merged"])
def test_a_training_makes_them_once_and_throws_the_head_away(tmp_path, policy, processor, changes):
    context, first, said = run_stage(tmp_path, policy, processor, **changes)
    assert any(
        "the best answers of 2 of 7 lists have degraded versions; others have none: 5 no box is "
        "stated" in line for line in said
    )  # fmt: skip
    [folder] = (context.store.root / "degraded").iterdir()
    kept = context.store.load("degraded", folder.name)
    assert kept is not None and kept.counts.dropped == {"no box is stated": NO_BOX}
    stamp = (folder / "part-00000.parquet").stat().st_mtime_ns
    weights = [
        load_file(path) for path in folder.parents[1].glob("checkpoint/*/model/**/*model.s*")
    ]
    assert weights and not any("degree" in name for each in weights for name in each)

    reading = first.degree_reading
    assert reading is not None and reading.step == 2
    assert reading.prompts.num_in == 4 and reading.lists == kept.counts
    assert [sum(row) for row in reading.confusion] == [reading.prompts.num_kept] * 4
    assert any(f"of {reading.num_versions} versions of" in line for line in said)

    _, again, _ = run_stage(tmp_path, policy, processor, beta=0.3, **changes)
    assert again.key != first.key
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert (folder / "part-00000.parquet").stat().st_mtime_ns == stamp


def test_keys_of_versions(trainable, policy, other_policy):
    context, _, preferences = trainable

    def key_of(policy: PolicyRef = policy, **changes: Any) -> str:
        config = TrainConfig(**(TRAIN | DEGREES | changes))
        whole = context.config.model_copy(update={"train": config})
        return version_sidecar.compute_key(whole, policy, preferences)

    alike = [key_of(), key_of(beta=0.3), key_of(degree_weight=0.1), key_of(objective="sft")]
    assert len(set(alike)) == 1
    assert len({key_of(), key_of(seed=1), key_of(degrees=3), key_of(other_policy)}) == 4


def test_what_was_written_before_a_kill_is_taken_up(job, lists, processor, tmp_path):
    paths = [tmp_path / "part-00000.parquet"]
    own = job.model_copy(
        update={"degraded": job.degraded.model_copy(update={"parts": paths, "is_kept": False})}
    )
    attach_degrees(lists, processor, own)
    rows = pq.read_table(paths[0]).to_pylist()
    stamp = paths[0].stat().st_mtime_ns
    again = RankedLists(job.lists, job.samples.packs, processor)
    telling = attach_degrees(again, processor, own)
    assert telling is not None and paths[0].stat().st_mtime_ns == stamp
    assert [bool(row["versions"]) for row in rows] == [True] * 2 + [False] * NO_BOX
    branches = [[branch.degree for branch in again[i].packable.rows] for i in (0, 1, 2)]
    assert branches == [[0, None, 1, 2, 3], [None] * 3 + [0, 1, 2, 3], [None] * 4]
    assert all(len(again[i].rewards_G) == len(again[i].packable.branches) for i in (0, 1, 2))


def test_a_table_of_other_lists_is_refused(job, lists, processor, tmp_path):
    path = tmp_path / "part-00000.parquet"
    write_versions(path, [{"sample_id": "x", "versions": [], "reason": "no"}])
    with pytest.raises(ValueError, match="holds other lists"):
        VersionTable([path], map(lists.read_id, range(NUM_LISTS)))


# Trained with


def test_the_first_loss_is_ln_d_for_each_list_with_versions_and_falls(trainable, tmp_path):
    """A new head finds all alike; the objective's own part begins at ln 2 as ever."""
    quickly = {"epochs": 12, "batch_lists": 8, "degree_learning_rate": 0.01}
    trainer = build_trainer(trainable, tmp_path, **(DEGREES | quickly))
    trainer.train()
    first, *_, last = read_points(trainer)
    expected = DEGREES["degree_weight"] * math.log(4) * WITH_VERSIONS / NUM_LISTS
    assert first["loss/degree"] == pytest.approx(expected, rel=1e-5)
    assert first["loss/perpo"] == pytest.approx(math.log(2), abs=1e-5)
    assert last["loss/degree"] < 0.9 * expected
    assert first["loss"] == pytest.approx(first["loss/degree"] + first["loss/perpo"], rel=1e-6)


def test_micro_batches_do_not_show_in_head_or_policy(trainable, tmp_path):
    ends = []
    for micro in (4, 1):
        trainer = build_trainer(
            trainable, tmp_path / str(micro), micro_batch_lists=micro, **DEGREES
        )
        trainer.train()
        assert isinstance(trainer.list_policy.degree_head, DegreeHead)
        weights = torch.cat([w.flatten() for w in copy_weights(trainer.model).values()]).double()
        head = trainer.list_policy.degree_head.linear.weight.detach().clone()
        ends.append((read_points(trainer), weights, head))
    (points, weights, head), (other_points, other_weights, other_head) = ends
    for point, other in zip(points, other_points, strict=True):
        for name in ("loss", "loss/degree", "grad_norm"):
            assert other[name] == pytest.approx(point[name], rel=1e-4, abs=1e-6)
    assert (weights - other_weights).norm() / weights.norm() < 1e-5
    assert head.abs().max() > 0
    assert (head - other_head).norm() / head.norm() < 1e-2


@pytest.mark.parametrize("changes", [{}, LORA], ids=["full", "lora"])
def test_the_head_moves_at_its_own_rate(trainable, tmp_path, changes):
    """AdamW's first step moves a weight by its learning rate, whatever the gradient's size."""
    trainer = build_trainer(
        trainable, tmp_path, epochs=0.5, batch_lists=8, max_grad_norm=1e6,
        **(changes | DEGREES | {"degree_learning_rate": 3e-3}),
    )  # fmt: skip
    trainer.train()
    head = trainer.list_policy.degree_head.linear.weight
    assert head.abs().max().item() == pytest.approx(3e-3, rel=0.05)
    assert "degree_head.linear.weight" in load_file(
        tmp_path / "checkpoint-1" / "trained.safetensors"
    )


def test_without_the_term_nothing_of_it_is_there(trainable, tmp_path):
    """Settings that nobody reads move no bit."""
    ends = []
    unread: list[dict[str, Any]] = [{}, {"degrees": 3, "degree_learning_rate": 0.5}]
    for number, changes in enumerate(unread):
        trainer = build_trainer(trainable, tmp_path / str(number), epochs=1, **changes)
        assert trainer.list_policy.degree_head is None
        assert trainer.train_dataset.versions is None
        assert trainer.train_dataset[0].packable.versions is None
        trainer.train()
        ends.append((read_points(trainer), copy_weights(trainer.model)))
    assert ends[0][0] == ends[1][0] and "loss/degree" not in ends[0][0][0]
    assert all(torch.equal(weight, ends[1][1][name]) for name, weight in ends[0][1].items())


# Told


class Telling(torch.nn.Module):
    """Tells degree `told` of everything, whatever it is shown."""

    def __init__(self, told: int) -> None:
        super().__init__()
        self.told, self.seen, self.device = told, 0, torch.device("cpu")

    def forward(self, batch: Any) -> Any:
        degrees = batch.packed.degrees_BV
        self.seen += degrees.numel()
        logits = torch.zeros(*degrees.shape, 4)
        logits[..., self.told] = 1.0
        return None, None, logits


@pytest.mark.parametrize("told", [0, 3])
def test_confusion_counts_versions_by_degree_and_by_what_was_told(
    tmp_path, policy, processor, told, training_events
):
    """Of true answers to validation prompts, D versions each; other splits are not looked at."""
    source = SOURCE | {"validation": {"grounding": 3, "ocr": 2, "counting": 2}}
    context = build_context(tmp_path, source=source, train=TRAIN | DEGREES)
    context = replace(context, policy=policy)
    samples = find_or_make(context, collect).artifact
    preferences = commit_lists(context, samples, processor.tokenizer, NUM_LISTS)
    setting = (context, samples, preferences)
    job = build_job(setting, tmp_path / "work", TrainConfig(**(TRAIN | DEGREES)))
    lists = RankedLists(job.lists, job.samples.packs, processor)
    telling = attach_degrees(lists, processor, job)
    assert telling is not None
    model = Telling(told)
    state = SimpleNamespace(best_global_step=None, global_step=7)
    trainer: Any = SimpleNamespace(list_policy=model, state=state)
    reading = telling.measure(trainer)
    num = reading.prompts.num_kept
    assert reading.prompts.num_in == 7 and num >= 5
    expected = [[num if column == told else 0 for column in range(4)] for _ in range(4)]
    assert reading.confusion == expected and model.seen == 4 * num == reading.num_versions
    assert reading.accuracy == 0.25 and reading.step == 7
    assert reading.lists.num_kept == WITH_VERSIONS
    assert any("25.0% are told by their degree" in str(event) for event in training_events)
