"""Reference log-probabilities: made once, found again, never trusted unseen."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from perpo_core.policy.resolve import resolve_base, resolve_policy
from perpo_core.stages import collect, train
from perpo_core.stages.stage import find_or_make
from perpo_core.stages.train import child, references, sidecars
from perpo_core.stages.train.data import RankedLists
from perpo_core.stages.train.references import References, open_table, write_part
from perpo_core.store.store import Store
from perpo_core.store.workspace import Workspace
from schemas.arrow import REFERENCES
from schemas.config import PolicyConfig
from schemas.run import PolicyRef, ReferenceJob
from schemas.train_config import TrainConfig
from tests.history import keep_reproducible
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import (
    NUM_LISTS,
    SOURCE,
    TRAIN,
    build_job,
    build_trainer,
    read_points,
)

LN2 = math.log(2)


# In the store


def run_stage(root: Path, policy: PolicyRef, processor: Any, **changes: Any) -> Any:
    """(context, checkpoint, what was said)."""
    said: list[str] = []
    settings = TRAIN | {"epochs": 1} | changes
    source = SOURCE | {"selection": {}}
    context = build_context(root, source=source, train=settings)
    context = replace(context, policy=policy, log=said.append)
    samples = find_or_make(context, collect).artifact
    preferences = commit_lists(context, samples, processor.tokenizer, NUM_LISTS)
    return context, find_or_make(context, train, samples, preferences).artifact, said


@pytest.mark.slow
def test_another_beta_trains_on_the_same_numbers(tmp_path, policy, processor):
    """A kept table stands for a reference forward, bit for bit; crops have one of their own."""
    first, _, said = run_stage(tmp_path / "store", policy, processor)
    assert any("reference log-probabilities of 7 lists under" in line for line in said)
    again, checkpoint, said = run_stage(tmp_path / "store", policy, processor, beta=0.3)
    assert any("are in the store already" in line for line in said)
    assert not any("log-probabilities of 7 lists under" in line for line in said)
    _, straight, _ = run_stage(tmp_path / "fresh", policy, processor, beta=0.3)
    assert keep_reproducible(checkpoint.history) == keep_reproducible(straight.history)
    assert checkpoint.digest == straight.digest
    assert checkpoint.reference_difference_nats < 1e-3
    tables = list((first.store.root / "references").iterdir())
    assert len(tables) == 1
    [table] = tables
    rows = pq.read_table(table / "part-00000.parquet").to_pylist()
    assert len(rows) == NUM_LISTS and all(logp < 0 for row in rows for logp in row["logps"])
    _, _, said = run_stage(tmp_path / "store", policy, processor, conditional_weight=1.0)
    assert any("reference log-probabilities of 7 crops under" in line for line in said)
    assert len(list((again.store.root / "references").iterdir())) == 2


def test_two_trainings_that_share_a_table_do_not_damage_it(trainable, tmp_path, monkeypatch):
    """The second one's commit comes between the first one's hash and its commit."""
    context, _, preferences = trainable
    context = replace(context, store=Store(tmp_path / "store"))
    jobs = [write_table(context, preferences, tmp_path / name) for name in ("first", "second")]
    assert jobs[0].key == jobs[1].key

    def describe_and_meet(*arguments: Any) -> Any:
        described = real(*arguments)
        if not second:
            second.append(pool.submit(sidecars.commit, context, preferences, jobs[1], "cpu"))
            wait(second, timeout=1)
        return described

    second: list[Any] = []
    real = Workspace.describe_table
    monkeypatch.setattr(Workspace, "describe_table", describe_and_meet)
    with ThreadPoolExecutor(1) as pool:
        first = sidecars.commit(context, preferences, jobs[0], "cpu")
        assert second[0].result(20) == first
    found = context.store.find("references", jobs[0].key, pytest.fail)
    [path] = context.store.paths(found)
    assert pq.read_table(path)["sample_id"].to_pylist() == ["first"]
    assert all(path.is_file() for job in jobs for path in job.list_paths()), "a restart finds them"


def write_table(context: Any, preferences: Any, folder: Path) -> ReferenceJob:
    """The job of the first table, as a child leaves it; its content tells whose it is."""
    job = sidecars.list_jobs(context, preferences, folder, sidecars.resolve(context.config))[0]
    [path] = job.list_paths()
    path.parent.mkdir(parents=True)
    rows = pa.table({"sample_id": [folder.name], "logps": [[-1.0]]}, schema=REFERENCES)
    pq.write_table(rows, path)
    return job


# Verified


@pytest.fixture
def table(trainable, policy, processor, tmp_path, training_events) -> Any:
    """(References, lists, its rows, job of a table that is there, model)."""
    config = TrainConfig(**TRAIN)
    job = build_job(trainable, tmp_path, config)
    model, _ = child.load_model(job, job.policy)
    lists = RankedLists(job.lists, job.samples.packs, processor)
    made = References(processor.tokenizer.pad_token_id, "float32", config)
    rows = made.compute(lists, range(NUM_LISTS), model)
    known = ReferenceJob(
        name="start", policy=policy, key="a" * 64,
        parts=[tmp_path / "part-00000.parquet"], folder=tmp_path,
    )  # fmt: skip
    return made, lists, rows, known, model


def test_a_table_is_read_as_it_was_written(table):
    made, lists, rows, known, model = table
    write_part(known.parts[0], lists, range(NUM_LISTS), rows)
    assert made.attach(lists, known, lambda: model) == rows
    assert made.largest_difference_nats < 1e-3


@pytest.mark.parametrize("damage", [0.5, math.nan])
def test_a_table_that_is_not_what_the_model_says_is_refused(table, damage):
    made, lists, rows, known, model = table
    rows[NUM_LISTS - 1][0] += damage
    write_part(known.parts[0], lists, range(NUM_LISTS), rows)
    with pytest.raises(ValueError, match=f"{known.folder} differs from a live forward"):
        made.attach(lists, known, lambda: model)


def test_a_table_of_other_lists_is_refused(table, monkeypatch):
    _, lists, rows, known, _ = table
    write_part(known.parts[0], lists, range(NUM_LISTS), rows)
    monkeypatch.setattr(lists, "read_id", lambda i: f"other-{i}")
    with pytest.raises(ValueError, match="holds other lists"):
        open_table(known, lists)


# The sampler's own


def test_the_samplers_log_probabilities_are_measured_before_use(table, training_events):
    """small_lists says -1 of every answer, which no forward confirms; the difference is told."""
    made, lists, rows, _, model = table
    taken = made.take_sampled(lists, lambda: model)
    assert taken == [[-1.0] * len(row) for row in rows]
    looked_at = [row for i, row in enumerate(rows) if i in references._pick(lists)]
    expected = max(abs(-1.0 - logp) for row in looked_at for logp in row)
    assert made.largest_difference_nats == pytest.approx(expected, rel=1e-4)
    [message] = [e["log"]["message"] for e in training_events if "sampler" in str(e)]
    assert f"at most {expected:.2g} nats" in message


def test_training_on_the_samplers_log_probabilities(trainable, tmp_path, training_events):
    trainer = build_trainer(trainable, tmp_path, reference_logps="sampled")
    assert {logp for row in trainer.train_dataset.ref_logps_PG for logp in row} == {-1.0}


# The base of the rounds


def test_the_base_as_reference(trainable, other_policy, tmp_path, training_events):
    """The policy starts away from it, so that the first loss is not ln 2."""
    context, samples, preferences = trainable
    based = context.config.policy.model_copy(update={"base": str(other_policy.folder)})
    context = replace(context, config=context.config.model_copy(update={"policy": based}))
    setting = (context, samples, preferences)
    trainer = build_trainer(setting, tmp_path, reference="base")
    job = build_job(setting, tmp_path, TrainConfig(**TRAIN, reference="base"))
    model, processor = child.load_model(job, other_policy)
    expected = References(processor.tokenizer.pad_token_id, "float32", job.config.train)
    lists = trainer.train_dataset
    assert lists.ref_logps_PG == expected.compute(lists, range(len(lists)), model)
    trainer.train()
    assert read_points(trainer)[0]["loss"] != pytest.approx(LN2, abs=1e-3)

    def key_of(reference: str) -> str:
        settings = TrainConfig(**TRAIN, reference=reference)
        config = context.config.model_copy(update={"train": settings})
        return train.compute_key(config, context.policy, samples, preferences)

    before = key_of("base"), key_of("start")
    with torch.no_grad():
        (other_policy.folder / "note.txt").write_text("another base")
    assert key_of("base") != before[0] and key_of("start") == before[1]
    (other_policy.folder / "note.txt").unlink()


def test_rounds_begin_at_the_base(other_policy, tmp_path):
    """policy.base is what "promoted" means before the first promotion."""
    config = PolicyConfig(model="promoted", base=str(other_policy.folder))
    assert resolve_policy(config, Store(tmp_path)) == other_policy
    missing = PolicyConfig(model="promoted", base="/none")
    with pytest.raises(ValueError, match=r"policy\.base = '/none' is neither a folder nor a model"):
        resolve_policy(missing, Store(tmp_path))


def test_a_named_model_is_started_from_whatever_the_base_is(other_policy, tmp_path):
    store = Store(tmp_path)
    config = PolicyConfig(model=str(other_policy.folder), base="builtin")
    assert resolve_policy(config, store) == other_policy
    assert resolve_base(config, store) == resolve_policy(PolicyConfig(), store)
