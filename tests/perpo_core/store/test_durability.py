"""Nothing that a restart needs goes before the commit, and what a commit names is on the disk."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perpo_core.housekeeping.folder import _check_artifact
from perpo_core.housekeeping.retention import Kept
from perpo_core.process.parent import run_child
from perpo_core.stages import collect, evaluate, generate, materialize, score, train
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.store import YOUNG_S, Store
from perpo_core.store.workspace import SCRATCH
from schemas.base import STAGES
from tests.history import keep_reproducible
from tests.perpo_core.small_store import build_context
from tests.perpo_core.stages.evaluate.test_evaluate import commit_checkpoint
from tests.perpo_core.stages.train.small_lists import commit_lists
from tests.perpo_core.stages.train.training import NUM_LISTS, SOURCE, TRAIN

DIGITS = {
    "kind": "digits",
    "train": {"counting": 6},
    "selection": {},
    "validation": {"counting": 2},
    "test": {"counting": 2},
}


class Lost(Exception):
    """The commit did not come about: a kill, an expired credential, a server that is away."""


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """failing(kind): the next commit of that kind raises Lost, before anything is written."""
    commit = Store.commit
    due: list[str] = []

    def commit_or_fail(self: Store, artifact: Any, *arguments: Any) -> Any:
        if artifact.kind in due:
            due.remove(artifact.kind)
            raise Lost
        return commit(self, artifact, *arguments)

    monkeypatch.setattr(Store, "commit", commit_or_fail)
    return due.append


@pytest.fixture
def setting(tmp_path: Path, policy: Any, processor: Any) -> Any:
    """(context, samples, preferences) of a store of one's own."""
    context = build_context(tmp_path, source=SOURCE, train=TRAIN | {"epochs": 1})
    context = replace(context, policy=policy)
    samples = find_or_make(context, collect).artifact
    return context, samples, commit_lists(context, samples, processor.tokenizer, NUM_LISTS)


@pytest.mark.slow
def test_a_training_whose_commit_fails_is_not_trained_again(setting, failing, monkeypatch) -> None:
    context, samples, preferences = setting
    failing("checkpoint")
    with pytest.raises(Lost):
        find_or_make(context, train, samples, preferences)
    starts: list[str] = []
    monkeypatch.setattr(train, "run_child", lambda module, *a, **k: starts.append(module))
    checkpoint = find_or_make(context, train, samples, preferences).artifact
    assert starts == [] and len(checkpoint.history) > 0
    folder = context.store.path(checkpoint, ".")
    assert not (folder / "work").exists(), "after the commit nobody needs it"
    monkeypatch.setattr(train, "run_child", run_child)
    straight = find_or_make(replace(context, force=True), train, samples, preferences).artifact
    assert checkpoint.digest == straight.digest
    assert keep_reproducible(checkpoint.history) == keep_reproducible(straight.history)


@pytest.mark.slow
def test_a_reference_table_whose_commit_fails_is_not_computed_again(setting, failing) -> None:
    context, samples, preferences = setting
    said: list[str] = []
    train_config = context.config.train.model_copy(update={"epochs": 20})  # not over before the end
    config = context.config.model_copy(update={"train": train_config})
    context = replace(context, config=config, log=said.append)
    failing("references")
    with pytest.raises(Lost):
        find_or_make(context, train, samples, preferences)
    assert any("reference log-probabilities of 7 lists under" in line for line in said)
    assert not list(context.store.root.glob("references/*/artifact.json"))
    said.clear()
    checkpoint = find_or_make(context, train, samples, preferences).artifact
    assert not any("log-probabilities of 7 lists under" in line for line in said), said
    assert any("are in the store already" in line for line in said)
    [table] = context.store.list_committed("references")
    assert context.store.find("references", table.key) == table
    assert not (context.store.path(checkpoint, ".") / "work").exists()


def test_what_a_kill_right_after_the_commit_left_goes(tmp_path: Path) -> None:
    """By the next run that uses the artifact, or by a clean-up a day later."""
    context = build_context(tmp_path, source=DIGITS)
    samples = find_or_make(context, collect).artifact
    left = context.store.path(samples, SCRATCH) / "checkpoint-1"
    left.mkdir(parents=True)
    (left / "weights").write_bytes(b"large")
    kept = Kept({(samples.kind, samples.key)})
    later_s = time.time() + YOUNG_S + 60
    names = (context.store, samples.kind, samples.key, kept, kept)
    assert list(_check_artifact(*names, time.time())) == []
    [garbage] = _check_artifact(*names, later_s)
    assert garbage.paths == (left.parent,) and garbage.num_bytes == 5
    assert find_or_make(context, collect).reused
    assert not left.parent.exists()
    assert list(_check_artifact(*names, later_s)) == []


@pytest.mark.slow
def test_a_model_that_is_gone_is_trained_again(setting, failing) -> None:
    context, samples, preferences = setting
    failing("checkpoint")
    with pytest.raises(Lost):
        find_or_make(context, train, samples, preferences)
    [model] = context.store.root.glob("checkpoint/*/model")
    model.rename(model.with_name("lost"))
    assert find_or_make(context, train, samples, preferences).artifact.files


def follow(context: StageContext, until: str) -> Any:
    """The stages up to one, on scripted answers; its artifact."""
    samples = find_or_make(context, collect).artifact
    if until == "collect":
        return samples
    candidates = find_or_make(context, generate, samples).artifact
    if until == "generate":
        return candidates
    scores = find_or_make(context, score, samples, candidates).artifact
    if until == "score":
        return scores
    if until == "materialize":
        return find_or_make(context, materialize, samples, candidates, scores).artifact
    checkpoint = commit_checkpoint(context, context.policy.folder, "trained")
    return find_or_make(context, evaluate, samples, checkpoint).artifact


@pytest.mark.parametrize("stage", [name for name in STAGES if name not in ("train", "promote")])
def test_no_answer_is_asked_for_again_when_a_commit_fails(
    tmp_path: Path, policy: Any, asked: list[Any], failing: Any, stage: str
) -> None:
    context = build_context(tmp_path, source=DIGITS, generate={"processes": 1})
    context = replace(context, policy=policy)
    kinds = {"collect": "samples", "generate": "candidates", "score": "scores",
             "materialize": "preferences", "evaluate": "evaluation"}  # fmt: skip
    failing(kinds[stage])
    with pytest.raises(Lost):
        follow(context, stage)
    before = len(asked)
    again = follow(context, stage)
    assert len(asked) == before
    other = build_context(tmp_path / "straight", source=DIGITS, generate={"processes": 1})
    straight = follow(replace(other, policy=policy), stage)
    assert again.digest == straight.digest and again.key == straight.key


def test_what_a_commit_names_is_on_the_disk_before_it(setting, monkeypatch) -> None:
    context, samples, preferences = setting
    synced: set[tuple[int, int]] = set()
    missing: list[Path] = []
    write, fsync = Store.write, os.fsync

    def note(descriptor: int) -> None:
        fsync(descriptor)
        found = os.fstat(descriptor)
        synced.add((found.st_dev, found.st_ino))

    def check(self: Store, name: str, body: bytes) -> None:
        if name.startswith("checkpoint/"):
            folder = (self.root / name).parent
            for path in [folder, folder.parent, *(folder / "model").rglob("*"), folder / "model"]:
                found = path.stat()
                if (found.st_dev, found.st_ino) not in synced:
                    missing.append(path)
        write(self, name, body)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(Store, "write", check)
    checkpoint = find_or_make(context, train, samples, preferences).artifact
    assert missing == []
    folder = context.store.folder("checkpoint", checkpoint.key).stat()
    assert (folder.st_dev, folder.st_ino) in synced, "also the rename of artifact.json"
