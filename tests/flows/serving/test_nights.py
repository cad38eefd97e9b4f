"""Nights on real parts: data that changes costs what is new; a promoted policy samples next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perpo_core.promotion.pointer import load_promoted
from perpo_core.stages.collect.sources.digits import SIDE, compose_scene, encode_png
from perpo_core.store.store import Store
from schemas.artifact import CandidateSet, ScoredSet
from schemas.base import Split
from tests.flows.whole import kill_when, load_artifact, load_latest, run_perpo, write_config

NUM_TRAIN, NUM_ANSWERS = 20, 8
# No selection: the last checkpoint is kept, whatever a training on 20 scenes is good for.
PER_SPLIT: dict[Split, int] = {"train": NUM_TRAIN, "validation": 8, "test": 8}
SETTINGS = (
    "promote.min_gain={grounding={sampled_reward=-1.0}}",  # about samples, not about gains
    "promote.max_loss={grounding={greedy_reward=1.0}}",
    "train.epochs=3",
)


def build_row(folder: Path, split: Split, index: int) -> dict[str, Any]:
    """A scene as a line of JSON Lines; its image is written beside."""
    scene = compose_scene(split, "grounding", index, seed=3)
    name = f"{split}-{index}.png"
    (folder / name).write_bytes(encode_png(scene.image))
    [question] = scene.questions
    assert isinstance(question.target, tuple)
    box = [round(value * SIDE) for value in question.target]
    return {"image": name, "task": "grounding", "split": split, "prompt": question.prompt,
            "box": box}  # fmt: skip


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def refresh(config: Path, policy: str) -> None:
    changes = (f"policy.model={policy}", *SETTINGS)
    run_perpo("refresh", config, *(word for change in changes for word in ("--set", change)))


def write_jsonl_config(folder: Path) -> tuple[Path, Path]:
    """The small configuration, on the cases of the folder."""
    config, store = write_config(folder)
    text = config.read_text()
    start, end = text.index("[source]"), text.index("[policy]")
    source = '[source]\nkind = "jsonl"\nfiles = ["cases.jsonl"]\nselection_share = 0\n\n'
    config.write_text(text[:start] + source + text[end:])
    return config, store


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_tenth_new_and_a_twentieth_corrected_then_the_promoted_policy(tmp_path: Path) -> None:
    config, store = write_jsonl_config(tmp_path)
    rows = [build_row(tmp_path, split, i) for split, n in PER_SPLIT.items() for i in range(n)]
    new, known = rows[:2], rows[2:]  # 10% of the 20 training samples come the second night
    write_rows(tmp_path, known)
    refresh(config, "builtin")
    first = load_artifact(store, "generate")
    assert isinstance(first, CandidateSet) and first.num_new_prompts == NUM_TRAIN - len(new)

    left, top, right, bottom = known[0]["box"]
    corrected = {**known[0], "box": [left, top, right, bottom - 1]}  # 5% of them
    write_rows(tmp_path, [new[0], corrected, *known[1:], new[1]])
    refresh(config, "builtin")
    candidates, scores = load_artifact(store, "generate"), load_artifact(store, "score")
    assert isinstance(candidates, CandidateSet) and isinstance(scores, ScoredSet)
    assert candidates.policy_digest == first.policy_digest
    assert (candidates.num_new_prompts, candidates.num_reused_prompts) == (2, 18)
    assert scores.num_new == 3 * NUM_ANSWERS and scores.num_reused == 17 * NUM_ANSWERS

    promoted = load_promoted(Store(store))
    record = load_latest(store)
    assert promoted is not None and record is not None
    assert promoted.policy_digest != record.policy_digest
    refresh(config, "promoted")
    record, candidates = load_latest(store), load_artifact(store, "generate")
    assert record is not None and isinstance(candidates, CandidateSet)
    assert record.policy_digest == candidates.policy_digest == promoted.policy_digest
    assert candidates.num_new_prompts == NUM_TRAIN, "another policy answers all of them"
    assert candidates.prompts_per_policy == {promoted.policy_digest: NUM_TRAIN}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_truth_corrected_after_a_kill_costs_the_shard_in_hand(tmp_path: Path) -> None:
    config, store = write_jsonl_config(tmp_path)
    config.write_text(config.read_text().replace("shard_prompts = 12", "shard_prompts = 2"))
    rows = [build_row(tmp_path, split, i) for split, n in PER_SPLIT.items() for i in range(n)]
    write_rows(tmp_path, rows)

    def count_parts() -> int:
        return len(list(store.glob("candidates/*/part-*.parquet.json")))

    num_shards = NUM_TRAIN // 2
    said = kill_when(lambda: count_parts() == num_shards - 1, tmp_path / "killed.log",
                     "refresh", config)  # fmt: skip
    num_left = 2 * (num_shards - count_parts())
    assert 0 < num_left < NUM_TRAIN, said
    left, top, right, bottom = rows[0]["box"]
    now = [{**rows[0], "box": [left, top, right, bottom - 1]}, *rows[1:]]
    write_rows(tmp_path, now)
    assert f"{num_left} of {NUM_TRAIN} prompts new" in run_perpo("plan", config)
    candidates = refresh_up_to_candidates(config, store)
    assert candidates.num_new_prompts == num_left
    straight = refresh_up_to_candidates(config, tmp_path / "fresh")
    assert straight.num_new_prompts == NUM_TRAIN
    assert (straight.key, straight.digest) == (candidates.key, candidates.digest)


def refresh_up_to_candidates(config: Path, store: Path) -> CandidateSet:
    """The answers of a refresh that goes no further."""
    kill_when(
        lambda: any(store.glob("candidates/*/artifact.json")), store.with_suffix(".log"),
        "refresh", config, "--set", f"store={store}",
    )  # fmt: skip
    [candidates] = Store(store).list_committed("candidates")
    assert isinstance(candidates, CandidateSet)
    return candidates
