"""The contrast stage: two policies by each of the three ways, and what they say of every token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from perpo_core.stages import contrast, train
from perpo_core.stages.contrast import child
from perpo_core.stages.contrast.lists import InstructedLists, NegatedLists
from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.stages.train import child as train_child
from perpo_core.stages.train import history, references
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.references import compute_rows, compute_token_rows
from perpo_core.stages.train.token_table import TokenTable, write_token_part
from schemas.artifact import ContrastSet
from schemas.config import RefreshConfig
from schemas.run import ContrastJob
from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.training import (
    LORA,
    NUM_LISTS,
    TRAIN,
    build_job,
    build_trainer,
    read_points,
)

CONTRAST: dict[str, Any] = {"epochs": 2, "learning_rate": 1e-3, "lora_rank": 8, "lora_alpha": 16}


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Children run here, as the stage would run them; which of the two, in their order."""
    ran: list[str] = []

    def run_child(module: str, job: ContrastJob, on_event: Any, **kwargs: Any) -> Any:
        assert module == contrast.CHILD
        ran.append(job.side)
        results: list[Any] = []

        def emit(event: str, **fields: Any) -> None:
            told = {"event": event, **fields}
            results.append(told) if event == "result" else on_event(told)

        for each in (child, train_child, history, references):
            monkeypatch.setattr(each, "emit", emit)
        monkeypatch.setattr(child, "load_job", lambda kind: job)
        child.main()
        return results[-1]

    torch.set_num_threads(1)
    monkeypatch.setattr(contrast, "run_child", run_child)
    return ran


def configure(setting: Any, **sections: Any) -> StageContext:
    """The setting's context under another configuration, in the same store."""
    context = setting[0]
    fields = context.config.model_dump() | {
        "train": TRAIN | LORA | {"objective": "tis_dpo"} | sections.pop("train", {}),
        "contrast": CONTRAST | sections.pop("contrast", {}),
    }
    return replace(context, config=RefreshConfig.model_validate(fields | sections), force=True)


def make(setting: Any, **sections: Any) -> tuple[StageContext, ContrastSet]:
    context = configure(setting, **sections)
    return context, find_or_make(context, contrast, *setting[1:]).artifact


def read_contrasts(context: StageContext, made: ContrastSet) -> list[list[list[float]]]:
    table = TokenTable(context.store.paths(made))
    return [[list(tokens) for tokens in table[i]] for i in range(len(table))]


def open_lists(setting: Any, processor: Any, kind: Any = RankedLists, *further: Any) -> Any:
    context, samples, preferences = setting
    packs = list_sample_files(context.store, samples).packs
    return kind(context.store.paths(preferences), packs, processor, *further)


def load(setting: Any, folder: Path) -> Any:
    """The start policy."""
    job = build_job(setting, folder, TrainConfig(**TRAIN))
    return train_child.load_model(job, job.policy)[0]


@pytest.mark.slow
@pytest.mark.parametrize("by", ["dpo", "sft"])
def test_the_better_policy_prefers_what_is_better(by, trainable, sides):
    context, made = make(trainable, contrast={"by": by})
    rows = read_contrasts(context, made)
    assert sides == ["better", "worse"] and made.by == by and len(rows) == NUM_LISTS
    of_best = [sum(row[0]) for row in rows]
    of_worst = [sum(row[-1]) for row in rows]
    assert sum(a > b for a, b in zip(of_best, of_worst, strict=True)) > NUM_LISTS / 2
    names = {file.path for file in made.files}
    assert {"better/trained.safetensors", "worse/trained.safetensors"} <= names
    digests = {file.path: file.sha256 for file in made.files}
    assert digests["better/trained.safetensors"] != digests["worse/trained.safetensors"]


def test_a_policy_that_is_told_is_asked_under_each_instruction(
    trainable, tmp_path, sides, processor
):
    told = {"by": "prompt", "good_instruction": "7", "bad_instruction": "481"}
    context, made = make(trainable, contrast=told)
    model = load(trainable, tmp_path)
    asked = [
        compute_token_rows(model, [open_lists(trainable, processor, InstructedLists, words)[2]], 0)
        for words in ("7", "481")
    ]
    [[good], [bad]] = asked
    expected = [
        pytest.approx([a - b for a, b in zip(*tokens, strict=True)], abs=1e-4)
        for tokens in zip(good, bad, strict=True)
    ]
    assert read_contrasts(context, made)[2] == expected
    assert all(file.path.startswith("part-") for file in made.files), "nothing was trained"


def test_an_instruction_follows_the_question(trainable, processor):
    plain = open_lists(trainable, processor)
    told = open_lists(trainable, processor, InstructedLists, "7")
    before, after = plain[0].packable.prefix_ids, told[0].packable.prefix_ids
    words = processor.tokenizer.decode(list(after)).replace("\n", " ")
    assert len(after) > len(before) and " 7" in words
    assert told[0].packable.branches == plain[0].packable.branches


def test_negated_lists_prefer_what_is_worst(trainable, processor):
    plain, negated = (
        open_lists(trainable, processor),
        open_lists(trainable, processor, NegatedLists),
    )
    for i in range(NUM_LISTS):
        assert negated[i].rewards_G == [-reward for reward in plain[i].rewards_G]
        assert negated[i].packable.branches == plain[i].packable.branches


def test_log_probabilities_of_tokens_add_up_to_those_of_answers(trainable, processor, tmp_path):
    lists = open_lists(trainable, processor)
    model = load(trainable, tmp_path)
    members = [lists[i] for i in range(NUM_LISTS)]
    rows = compute_token_rows(model, members, 0)
    assert [[len(tokens) for tokens in row] for row in rows] == [
        [len(branch.ids) for branch in ranked.packable.branches] for ranked in members
    ]
    sums = [[sum(tokens) for tokens in row] for row in rows]
    answers = compute_rows(model, members, 0)
    assert sums == [pytest.approx(row, abs=1e-4) for row in answers]
    write_token_part(tmp_path / "part-00000.parquet", ["a"] * NUM_LISTS, rows)
    table = TokenTable([tmp_path / "part-00000.parquet"])
    assert len(table) == NUM_LISTS
    assert [table[i] for i in range(NUM_LISTS)] == rows


@pytest.mark.slow
def test_what_is_there_is_not_made_again(trainable, sides):
    """A run that was killed after the first policy had been asked asks the other alone."""
    _, made = make(trainable)
    context = configure(trainable)
    samples, preferences = trainable[1:]
    key = contrast.compute_key(context.config, context.policy, samples, preferences)
    jobs = [
        contrast._build_job(context, context.open_workspace("contrast", key), side, *trainable[1:])
        for side in ("better", "worse")
    ]
    contrast._make(context, context.open_workspace("contrast", key), preferences, jobs[0])
    written = {path: path.stat().st_mtime_ns for path in jobs[0].table.list_paths()}
    again = contrast.run(context, key, samples, preferences)
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert again.digest == made.digest


def test_the_key_follows_how_the_two_are_had_and_nothing_of_the_training(trainable):
    samples, preferences = trainable[1:]

    def key(**sections: Any) -> str:
        context = configure(trainable, **sections)
        return contrast.compute_key(context.config, context.policy, samples, preferences)

    prompt = {"by": "prompt"}
    others = ({"tis_high": 1.0}, {"pairs": "all"}, {"degree_weight": 1.0, "degrees": 3})
    for changes in ({"beta": 0.9}, {"learning_rate": 0.1}, *others):
        assert key(train=changes) == key()
        assert key(train=changes, contrast=prompt) == key(contrast=prompt)
    assert key(contrast={"beta": 0.9}) != key() != key(contrast=prompt)
    assert key(contrast=prompt | {"beta": 0.9}) == key(contrast=prompt)
    assert key(contrast=prompt | {"bad_instruction": "7"}) != key(contrast=prompt)


def test_tis_dpo_trains_on_what_the_two_say(trainable, sides, monkeypatch):
    """From ln 2 on, by tables that a second training finds."""
    context, made = make(trainable)
    results: list[dict[str, Any]] = []
    monkeypatch.setattr(train_child, "emit", lambda event, **fields: results.append(fields))
    monkeypatch.setattr(history, "emit", lambda event, **fields: None)
    monkeypatch.setattr(references, "emit", lambda event, **fields: results.append(fields))

    def run_child(module: str, job: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(train_child, "load_job", lambda kind: job)
        train_child.main()
        return results[-1]

    monkeypatch.setattr(train, "run_child", run_child)
    checkpoint = find_or_make(context, train, *trainable[1:], made).artifact
    first, *_, last = [point.loss for point in checkpoint.history]
    assert first == pytest.approx(0.693147, abs=1e-5) and last < first
    assert made.as_parent() in checkpoint.parents
    other = context.config.train.model_copy(update={"tis_scale": 3.0})
    whole = replace(context, config=context.config.model_copy(update={"train": other}))
    again = find_or_make(whole, train, *trainable[1:], made).artifact
    norms = [each.history[0].grad_norm for each in (checkpoint, again)]
    assert norms[1] == pytest.approx(3 * norms[0], rel=1e-3)
    rows = pq.read_table(context.store.paths(made)[0])
    assert rows["sample_id"].to_pylist() == [
        row["sample_id"]
        for path in context.store.paths(trainable[2])
        for row in pq.read_table(path).to_pylist()
    ]


@pytest.mark.usefixtures("training_events")
def test_degrees_are_told_beside_weights_of_tokens(trainable, sides, monkeypatch, tmp_path):
    """The first step of both is one, but for the further loss: a new head moves itself alone."""
    context, made = make(trainable)
    for module in (train_child, history, references):  # what the stage's children left behind
        monkeypatch.setattr(module, "emit", lambda event, **fields: None)
    firsts = []
    for weight in (0.0, 0.5):
        trainer = build_trainer(
            trainable, tmp_path / str(weight), inputs={"contrasts": context.store.paths(made)},
            objective="tis_dpo", degree_weight=weight, epochs=0.5,
        )  # fmt: skip
        trainer.train()
        firsts.append(read_points(trainer)[0])
    plain, both = firsts
    assert both["loss/tis_dpo"] == pytest.approx(plain["loss"], rel=1e-5)
    assert both["loss/degree"] > 0 and "loss/degree" not in plain
    assert both["loss"] == pytest.approx(plain["loss"] + both["loss/degree"], rel=1e-5)
