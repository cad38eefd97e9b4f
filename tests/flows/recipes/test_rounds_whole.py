"""Rounds of real refreshes: two that pass, one that does not, and a kill -9 in the second."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from flows.runs.records import load_records
from perpo_core.store.store import Store
from schemas.artifact import CandidateSet
from tests.flows.whole import kill_when, run_perpo, write_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
NAME = "small"
OPEN = (
    "--set", "promote.min_gain={}",
    "--set", "promote.max_loss={grounding={greedy_reward=1}}",
    "--set", "source.selection={grounding=0,ocr=0,counting=0}",
)  # fmt: skip
"""Gates that any round passes; nothing to choose by, so that every round changes the policy."""


def load_result(store: Path) -> tuple[bytes, dict[str, Any]]:
    body = (store / "reports" / f"rounds-{NAME}.json").read_bytes()
    return body, json.loads(body)


def run_rounds(config: Path, *settings: str, num: int = 2) -> str:
    return run_perpo("rounds", config, "--rounds", num, *settings)


@pytest.fixture(scope="module")
def two_rounds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """(configuration, store, what was said) of two undisturbed rounds."""
    config, store = write_config(tmp_path_factory.mktemp("rounds"))
    return config, store, run_rounds(config, *OPEN)


def read_predictions(store: Store, run_name: str, policy: str) -> Any:
    [record] = [each for each in load_records(store) if each.config.name == run_name]
    entry = record.stages["evaluate"]
    evaluation = store.load(entry.kind, entry.key)
    assert evaluation is not None
    table = pq.read_table(store.paths(evaluation, "predictions"))
    return table.filter(pc.equal(table["policy"], policy)).to_pylist()


def test_each_is_held_against_the_start_on_the_same_prompts(
    two_rounds: tuple[Path, Path, str],
) -> None:
    _, store, said = two_rounds
    _, result = load_result(store)
    first, second = result["rounds"]
    assert first["trained_digest"] == second["policy_digest"] != first["policy_digest"]
    assert second["trained_digest"] != second["policy_digest"]
    assert (first["decision"], second["decision"]) == ("promoted", "promoted")
    assert first["tasks"].keys() == {"grounding", "ocr", "counting"}
    for task, of in first["tasks"].items():
        after = second["tasks"][task]
        for name, value in of["against_start"].items():
            assert value["trained"] == after["against_before"][name]["base"], "asked once"
            assert value["base"] == after["against_start"][name]["base"]
        assert of["diversity"]["num_answers"] == 8

    # By hand from the files: greedy accuracy of the second round, less the start's.
    opened = Store(store)
    means = [
        sum(row["measure"] >= 0.5 for row in rows) / len(rows)
        for run_name, policy in ((f"{NAME}-r1", "base"), (f"{NAME}-r2", "trained"))
        for rows in [[row for row in read_predictions(opened, run_name, policy)
                      if row["index"] == -1 and row["task"] == "grounding"
                      and row["split"] == "test"]]
    ]  # fmt: skip
    value = second["tasks"]["grounding"]["against_start"]["acc_at_50"]
    assert value["delta"] == pytest.approx(means[1] - means[0])
    assert value["n"] == 24
    assert said.splitlines()[-1].endswith(f"rounds-{NAME}.html")
    assert "2 of 2 rounds promoted." in said and "grounding" in said


def test_answers_are_those_of_each_rounds_own_policy(two_rounds: tuple[Path, Path, str]) -> None:
    _, store, _ = two_rounds
    opened = Store(store)
    for record in load_records(opened):
        candidates = opened.load("candidates", record.stages["generate"].key)
        assert isinstance(candidates, CandidateSet)
        assert set(candidates.prompts_per_policy) == {record.policy_digest}


def test_with_max_policy_age_a_round_learns_from_the_answers_of_the_one_before(
    tmp_path: Path,
) -> None:
    config, store = write_config(tmp_path)
    run_rounds(config, *OPEN, "--set", "generate.max_policy_age=1")
    first, second = load_result(store)[1]["rounds"]
    assert first["num_stale_prompts"] == 0
    assert second["num_stale_prompts"] == second["num_prompts"] == first["num_prompts"] > 0
    assert first["generate_seed"] == second["generate_seed"]
    for task, of in first["tasks"].items():
        assert second["tasks"][task]["diversity"] == of["diversity"], "they are the same answers"


def test_a_round_that_fails_its_gate_ends_them(two_rounds: tuple[Path, Path, str]) -> None:
    config, store, _ = two_rounds
    gate = ("--set", "promote.min_gain={grounding={sampled_reward=0.9}}")
    said = run_rounds(config, *OPEN, *gate, num=3)
    assert "0 of 3 rounds promoted: round 1 was not, which ends them" in said
    _, result = load_result(store)
    [only] = result["rounds"]
    assert only["decision"] == "not promoted" and "sampled_reward > 0.9" in only["reason"]
    latest = load_records(Store(store))[-1]
    assert [stage for stage, entry in latest.stages.items() if not entry.reused] == ["promote"]


def test_kill_9_in_the_second_round_and_the_same_bytes(
    two_rounds: tuple[Path, Path, str], tmp_path: Path
) -> None:
    config, store = write_config(tmp_path)

    def trains() -> bool:
        checkpoints = list(store.glob("checkpoint/*/work/checkpoint-*/trainer_state.json"))
        return bool(checkpoints) and any(
            record.config.name == f"{NAME}-r2" and "materialize" in record.stages
            for record in load_records(Store(store))
        )

    kill_when(trains, tmp_path / "log", "rounds", config, "--rounds", 2, *OPEN)
    run_rounds(config, *OPEN)
    undisturbed = two_rounds[1]
    run_rounds(two_rounds[0], *OPEN)  # another test may have asked for other gates since
    assert load_result(store)[0] == load_result(undisturbed)[0]
    names = [record.config.name for record in load_records(Store(store))]
    assert names == [f"{NAME}-r1", f"{NAME}-r2", f"{NAME}-r2"]
