"""The sampler's log-probabilities on their way to the ratios of p3o."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from perpo_core.stages.samples import list_sample_files
from perpo_core.stages.train import child
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.references import References
from perpo_core.store.store import Store
from schemas.arrow import PREFERENCES
from schemas.train_config import TrainConfig
from tests.perpo_core.small_store import read_rows
from tests.perpo_core.stages.train.training import (
    NUM_LISTS,
    TRAIN,
    build_job,
    build_trainer,
    read_points,
)

P3O: dict[str, Any] = {"objective": "p3o", "learning_rate": 3e-5}


@pytest.fixture(scope="module")
def sampled(trainable, processor, tmp_path_factory) -> Any:
    """(context, samples, lists) whose log-probabilities are those of the policy itself."""
    context, samples, preferences = trainable
    store = Store(tmp_path_factory.mktemp("sampled"))
    (store.root / "samples").symlink_to(context.store.root / "samples")
    config = TrainConfig(**TRAIN)
    job = build_job(trainable, store.root / "work", config)
    model, _ = child.load_model(job, job.policy)
    packs = list_sample_files(context.store, samples).packs
    lists = RankedLists(job.lists, packs, processor)
    rows = read_rows(context.store, preferences)
    references = References(processor.tokenizer.pad_token_id, "float32", config)
    for row, logps in zip(rows, references.compute(lists, range(NUM_LISTS), model), strict=True):
        for answer, logp in zip(row["responses"], logps, strict=True):
            answer["logp"] = logp
    workspace = store.open_workspace("preferences", "f" * 64)
    table = pa.Table.from_pylist(rows, schema=PREFERENCES)
    files = [workspace.write_table("part-00000.parquet", table)]
    lists_of_it = store.commit(preferences.model_copy(update={"files": files}))
    return replace(context, store=store), samples, lists_of_it


def find_said(training_events: list[Any]) -> list[str]:
    said = [event["log"]["message"] for event in training_events if "log" in event]
    return [line for line in said if "sampler" in line]


@pytest.mark.parametrize("clip", ["joint", "separate"])
def test_training_raises_what_is_better_within_the_clip(sampled, tmp_path, training_events, clip):
    """The policy begins at its sampler, so that nothing is lost or gained; then the loss falls."""
    trainer = build_trainer(sampled, tmp_path, **P3O, clip=clip)
    ranked = trainer.train_dataset[0]
    row = trainer.train_dataset.load_row(0)
    assert ranked.columns_G == {"sampler_logps_PG": [a["logp"] for a in row["responses"]]}
    trainer.train()
    points = read_points(trainer)
    assert points[0]["loss"] == pytest.approx(0.0, abs=1e-4)
    assert points[-1]["loss"] < -0.01
    assert points[-1]["rewards/margins"] > 0
    [line] = find_said(training_events)
    assert line.startswith("the sampler's log-probabilities differ from a live forward by at most")


def test_a_sampler_of_other_odds_is_a_warning(trainable, tmp_path, training_events):
    """small_lists says -1 of every answer."""
    build_trainer(trainable, tmp_path, **P3O)
    [line] = find_said(training_events)
    assert line.startswith("warning: the sampler's log-probabilities differ")
    assert "more than train.clip_range (0.2): such answers begin clipped" in line


def test_answers_of_older_policies_are_not_held_against_this_one(
    trainable, tmp_path, training_events
):
    context, samples, preferences = trainable
    generate = context.config.generate.model_copy(update={"max_policy_age": 2})
    aged = replace(context, config=context.config.model_copy(update={"generate": generate}))
    trainer = build_trainer((aged, samples, preferences), tmp_path, **P3O)
    assert find_said(training_events) == []
    assert set(trainer.train_dataset[0].columns_G) == {"sampler_logps_PG"}


def test_the_reference_is_its_own_and_its_difference_too(trainable, tmp_path, training_events):
    """What the sampler says apart is no difference of the reference."""
    config = TrainConfig(**TRAIN | P3O)
    job = build_job(trainable, tmp_path, config)
    model, processor = child.load_model(job, job.policy)
    lists = RankedLists(job.lists, job.samples.packs, processor)
    references = References(processor.tokenizer.pad_token_id, "float32", config)
    child.attach_references(model, lists, processor, references, job)
    assert find_said(training_events) and references.largest_difference_nats == 0.0
    assert lists.ref_logps_PG is not None and lists.ref_logps_PG[0][0] < -2
