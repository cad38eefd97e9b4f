"""Rounds on toy stages: each begins with the one before, and the same command goes on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.runs.records import load_records
from perpo_core.policy.resolve import resolve_policy
from perpo_core.promotion.approvals import approve
from perpo_core.promotion.pointer import load_history, load_promoted
from perpo_core.rounds.measure import RoundRun
from perpo_core.store.locks import lock_name
from perpo_core.store.store import Store
from schemas.base import STAGES
from schemas.config import RefreshConfig
from schemas.rounds import RoundsReport
from tests.flows.toy import install
from tests.flows.toy_commands import ToyCommand
from tests.flows.toy_rounds import build_config, plant, write_config


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RefreshConfig:
    install(monkeypatch.setitem)
    plant(monkeypatch.setitem)
    return build_config(tmp_path)


def run_rounds(config: RefreshConfig, num_rounds: int) -> list[RoundRun]:
    from flows.recipes.rounds import rounds

    return rounds(config, num_rounds)


def load_result(store: Path) -> RoundsReport:
    return RoundsReport.model_validate_json((store / "reports" / "rounds-toy.json").read_bytes())


def change(config: RefreshConfig, **sections: dict[str, Any]) -> RefreshConfig:
    changed = {name: getattr(config, name).model_copy(update=of) for name, of in sections.items()}
    return config.model_copy(update=changed)


@pytest.mark.usefixtures("prefect_server")
def test_each_round_begins_with_the_one_before_and_is_held_against_the_start(
    planted: RefreshConfig,
) -> None:
    store = Store(planted.store)
    done = run_rounds(planted, 3)
    report = load_result(store.root)
    assert [run.round for run in done] == report.rounds
    start = resolve_policy(planted.policy, store).digest
    begun = [each.policy_digest for each in report.rounds]
    trained = [each.trained_digest for each in report.rounds]
    assert begun == [start, *trained[:-1]] and report.policy_digest == start
    assert len(set(trained)) == 3
    assert [entry.policy_digest for entry in load_history(store)] == trained
    assert [record.config.name for record in load_records(store)] == ["toy-r1", "toy-r2", "toy-r3"]
    assert [each.generate_seed for each in report.rounds] == [0, 1, 2]
    assert [each.train_seed for each in report.rounds] == [0, 1, 2]

    # Qualities 0.3, 0.6, 0.75, 0.825; the best of 2 is 0.9 throughout.
    tasks = [each.tasks["grounding"] for each in report.rounds]
    greedy = [
        (of.against_before["greedy_reward"], of.against_start["greedy_reward"]) for of in tasks
    ]
    assert [before.delta for before, _ in greedy] == pytest.approx([0.3, 0.15, 0.075])
    assert [of_start.delta for _, of_start in greedy] == pytest.approx([0.3, 0.45, 0.525])
    assert [of.headroom_closed for of in tasks] == pytest.approx([0.5, 0.5, 0.5])
    of_start = [of.start_headroom for of in tasks if of.start_headroom]
    assert [each.closed for each in of_start] == pytest.approx([0.5, 0.75, 0.875])
    assert all(each.low < each.closed < each.high for each in of_start)
    assert all(before.delta_low > 0 for before, _ in greedy)
    assert tasks[0].diversity is not None
    assert tasks[0].diversity.model_dump() == pytest.approx({
        "num_samples": 2, "num_answers": 4, "num_different": 2, "num_judged": 2,
        "equal_share": 0.5, "reward_gap": 0.5, "reward_difference": 1 / 3,
    })  # fmt: skip
    assert [each.num_stale_prompts for each in report.rounds] == [1, 1, 1]
    assert report.verdict[0] == "3 of 3 rounds promoted."
    # Two samples, at 0.05 below and above the quality: both reach an IoU of 0.5 in round 1.
    assert "is 1.000 after round 3, from 0.000 at the start" in report.verdict[1]
    assert "better in round 1, no clear change in rounds 2 and 3" in report.verdict[1]

    page = store.root / "reports" / "rounds-toy.html"
    before = {path: path.read_bytes() for path in (page, page.with_suffix(".json"))}
    run_rounds(planted, 3)
    assert {path: path.read_bytes() for path in before} == before
    assert len(load_records(store)) == 3, "what has ended is not run again"
    more = run_rounds(planted, 4)
    assert [run.record.run_id for run in more[:3]] == [run.record.run_id for run in done]
    assert len(load_records(store)) == 4 and more[3].round.number == 4


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_round_that_is_not_promoted_ends_them_and_says_at_which_gate(
    tmp_path: Path, planted: RefreshConfig
) -> None:
    # Expected reward gains half of what quality gains: 0.15, 0.075, 0.0375.
    config = build_config(tmp_path, least_gain=0.1)
    done = run_rounds(config, 3)
    assert [run.round.decision for run in done] == ["promoted", "not promoted"]
    reason = done[-1].round.reason
    assert reason is not None and "sampled_reward > 0.1; measured +0.0750" in reason
    report = load_result(tmp_path / "store")
    assert report.has_ended
    assert report.verdict[0].startswith("1 of 3 rounds promoted: round 2 was not, which ends them")
    assert "after round 1" in report.verdict[1], "what was promoted last is what is told"
    body = (tmp_path / "store" / "reports" / "rounds-toy.json").read_bytes()
    run_rounds(config, 3)
    assert (tmp_path / "store" / "reports" / "rounds-toy.json").read_bytes() == body
    assert len(load_records(Store(config.store))) == 2

    # With other gates the same rounds are decided anew, from what the store has.
    lenient = build_config(tmp_path, least_gain=0.05)
    assert [run.round.decision for run in run_rounds(lenient, 2)] == ["promoted"] * 2
    made = [
        [stage for stage in STAGES if not record.stages[stage].reused]
        for record in load_records(Store(config.store))[2:]
    ]
    assert made == [["promote"], ["promote"]]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_from_promoted_the_rounds_know_where_they_began(planted: RefreshConfig) -> None:
    store = Store(planted.store)
    base = planted.policy.model
    config = change(planted, policy={"model": "promoted", "base": base})
    start = resolve_policy(config.policy, store).digest
    run_rounds(config, 1)
    promoted = load_promoted(store)
    assert promoted is not None and promoted.policy_digest != start
    done = run_rounds(config, 2)
    assert [run.round.policy_digest for run in done] == [start, promoted.policy_digest]
    assert len(load_records(store)) == 2
    assert {run.record.config.policy.base for run in done} == {base}

    other = config.model_copy(update={"name": "other"})
    [own] = run_rounds(other, 1)
    assert own.round.policy_digest == done[-1].round.trained_digest, "another name begins there"


@pytest.mark.usefixtures("prefect_server")
def test_an_approval_is_waited_for_and_then_the_same_command_goes_on(
    tmp_path: Path, planted: RefreshConfig
) -> None:
    config = build_config(tmp_path, approval=True)
    store = Store(config.store)
    [waiting] = run_rounds(config, 3)
    assert waiting.round.decision == "waiting for approval"
    assert "waits for a person" in load_result(store.root).verdict[0]
    approve(store, load_records(store)[0])
    first, second = run_rounds(config, 3)
    assert (first.round.decision, second.round.decision) == ("promoted", "waiting for approval")
    assert len(load_records(store)) == 2


@pytest.mark.usefixtures("prefect_server")
def test_the_rounds_are_one_flow_with_a_refresh_a_round(planted: RefreshConfig) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    done = run_rounds(planted.model_copy(update={"name": "seen"}), 2)
    with get_client(sync_client=True) as client:
        children = [client.read_flow_run(run.record.flow_run_id) for run in done]  # type: ignore[arg-type]
        named = FlowRunFilterName(like_="2 rounds of seen")
        [parent] = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=named))
        tasks = {child.parent_task_run_id for child in children}
        assert None not in tasks and len(tasks) == 2
        of_task = [client.read_task_run(task).flow_run_id for task in tasks]  # type: ignore[arg-type]
    assert of_task == [parent.id] * 2
    assert parent.state is not None and parent.state.is_completed()


@pytest.mark.usefixtures("prefect_server")
def test_what_cannot_go_on_is_refused_before_anything_is_begun(planted: RefreshConfig) -> None:
    for config, said in (
        (change(planted, promote={"enabled": False}), "no round would be promoted"),
        (planted.model_copy(update={"name": "a" * 60}), "more than 59 characters"),
    ):
        with pytest.raises(ValueError, match=said):
            run_rounds(config, 2)
    store = Store(planted.store)
    with lock_name(store, "toy-rounds"), pytest.raises(ValueError, match="is going on"):
        run_rounds(planted, 2)
    assert load_records(store) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_9_in_any_round_and_the_same_command_gives_the_same_bytes(tmp_path: Path) -> None:
    configs = {}
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
        configs[name] = write_config(tmp_path / name)
    build_command(configs["undisturbed"]).run()
    store = tmp_path / "killed" / "store"

    def has(round_name: str, stage: str) -> Callable[[], bool]:
        return lambda: any(
            record.config.name == round_name and stage in record.stages
            for record in load_records(Store(store))
        )

    for condition in (has("toy-r1", "generate"), has("toy-r2", "train"), has("toy-r3", "promote")):
        build_command(configs["killed"]).kill_when(condition)
    build_command(configs["killed"]).run()
    expected, found = (
        (tmp_path / name / "store" / "reports" / "rounds-toy.json").read_bytes() for name in configs
    )
    assert found == expected and len(json.loads(found)["rounds"]) == 3


def build_command(config: Path) -> ToyCommand:
    return ToyCommand("tests.flows.toy_rounds", ["rounds", str(config)], config.with_suffix(".log"))
