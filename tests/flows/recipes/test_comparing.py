"""Comparisons on toy stages: what is made, what is taken over, the same bytes whatever ends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.exceptions import CancelledRun

from flows.recipes import comparing
from flows.recipes.comparing import compare
from flows.recipes.trial import run_trial
from flows.runs.records import load_records
from perpo_core.evidence.writing import name_folder
from perpo_core.promotion.pointer import load_promoted
from perpo_core.store.store import Store
from schemas.compare_config import CompareMethod
from schemas.comparison import ComparisonReport
from schemas.config import RefreshConfig
from schemas.run import RunRecord
from tests.flows.toy import install, write_policy
from tests.flows.toy_commands import ToyCommand
from tests.flows.toy_compare import DPO, METHODS, RATES, build_config, plant, write_config

NUM_TRIALS = len(METHODS) * (len(RATES) + 3) + 1


def read_bytes(config: RefreshConfig) -> bytes:
    return (Path(config.store) / name_folder(config.name) / "report.json").read_bytes()


def change(config: RefreshConfig, **compare: Any) -> RefreshConfig:
    return config.model_copy(update={"compare": config.compare.model_copy(update=compare)})


def list_names(config: RefreshConfig) -> list[str]:
    return [record.config.name for record in load_records(Store(config.store))]


def build(methods: dict[str, Any]) -> dict[str, CompareMethod]:
    return {name: CompareMethod(**method) for name, method in methods.items()}


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RefreshConfig:
    install(monkeypatch.setitem)
    plant(monkeypatch.setitem)
    return build_config(tmp_path / "store", write_policy(tmp_path / "policy"))


@pytest.mark.usefixtures("prefect_server")
def test_the_planted_order_is_found_once_and_one_more_method_runs_only_itself(
    planted: RefreshConfig,
) -> None:
    report = compare(planted)
    assert ComparisonReport.model_validate_json(read_bytes(planted)) == report
    chosen = {
        method.name: [p.settings["train.learning_rate"] for p in method.sweep if p.is_chosen]
        for method in report.methods
    }
    assert chosen == {"sft": [1e-5], "perpo": [1e-5]}
    assert [(pair.better, pair.worse, pair.is_clear) for pair in report.pairs] == [
        ("sft", "start", True), ("perpo", "start", True), ("perpo", "sft", True),
    ]  # fmt: skip
    [sft, perpo] = report.methods
    assert sft.label == "SFT on the best" and perpo.label == "perpo"
    assert len(perpo.tasks["grounding"].metrics["acc_at_50"].per_seed) == 3
    assert (
        len(report.start.tasks["grounding"].best_of_n),
        len(perpo.tasks["grounding"].best_of_n),
    ) == (6, 4)
    headroom = perpo.tasks["grounding"].headroom_closed
    assert headroom is not None and headroom.closed > 1, "0.2 of the 0.06 that six answers add"
    assert perpo.tasks["ocr"].metrics["greedy_reward"].change is not None
    assert any("perpo is above SFT on the best" in sentence for sentence in report.verdicts)
    assert load_promoted(Store(planted.store)) is None
    assert len(list_names(planted)) == NUM_TRIALS

    found = read_bytes(planted)
    compare(planted)
    assert read_bytes(planted) == found and len(list_names(planted)) == NUM_TRIALS

    more = change(planted, methods={**planted.compare.methods, **build(DPO)})
    report = compare(more)
    assert list_names(planted)[NUM_TRIALS:] == [
        "toy-dpo-sweep-0", "toy-dpo-sweep-1", "toy-dpo-0", "toy-dpo-1", "toy-dpo-2",
    ]  # fmt: skip
    assert [method.name for method in report.methods] == ["sft", "perpo", "dpo"]


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_interrupted_side_by_side_it_goes_on_to_the_bytes_of_one_after_the_other(
    planted: RefreshConfig,
) -> None:
    wish = Path(planted.store).parent / "break-evaluate"
    wish.write_text("interrupt")
    with pytest.raises((KeyboardInterrupt, CancelledRun)):
        compare(change(planted, side_by_side=2))
    wish.unlink()
    assert {record.status for record in load_records(Store(planted.store))} == {"cancelled"}
    compare(change(planted, side_by_side=3))
    elsewhere = planted.model_copy(update={"store": Path(planted.store).parent / "undisturbed"})
    compare(elsewhere)
    assert read_bytes(planted) == read_bytes(elsewhere)


@pytest.mark.usefixtures("prefect_server")
def test_a_trial_on_data_that_changed_since_is_run_again(planted: RefreshConfig) -> None:
    config = change(planted, methods=build({"sft": METHODS["sft"]}), sweep={}, seeds=1, best_of=4)
    compare(config)
    compare(config)
    assert list_names(config) == ["toy-sft-0"]
    # What the toy source holds hangs on a setting that says nothing of a trial.
    compare(config.model_copy(update={"min_free_disk_gb": 0.5}))
    assert list_names(config) == ["toy-sft-0"] * 2


@pytest.mark.usefixtures("prefect_server")
def test_what_fails_is_said_and_ends_the_comparison_where_nothing_else_can(
    planted: RefreshConfig,
) -> None:
    wish = Path(planted.store).parent / "break-train"
    wish.write_text("input")
    with pytest.raises(ValueError, match="every setting of sft failed, the last with: toy train"):
        compare(planted)


@pytest.mark.usefixtures("prefect_server")
def test_a_closer_look_that_fails_leaves_what_was_judged(
    planted: RefreshConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One value leaves nothing to try, and it is not the default.
    one = build({"sft": {**METHODS["sft"], "sweep": {"train.learning_rate": [1e-5]}}})
    config = change(planted, methods=one, sweep={}, seeds=1, best_of=4, look=True)

    def fail(*arguments: Any) -> Any:
        raise ValueError("the graphics card has left")

    monkeypatch.setattr(comparing, "look", fail)
    with pytest.raises(ValueError, match=r"what was judged is in .*: the graphics card has left"):
        compare(config)
    written = ComparisonReport.model_validate_json(read_bytes(config))
    assert written.methods[0].settings["train.learning_rate"] == 1e-5
    assert load_records(Store(config.store))[0].config.train.learning_rate == 1e-5
    assert written == compare(change(config, look=False))


@pytest.mark.usefixtures("prefect_server")
def test_a_policy_that_is_promoted_meanwhile_ends_the_comparison(
    planted: RefreshConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(config: RefreshConfig) -> RunRecord:
        return run_trial(config).model_copy(update={"policy_digest": "c" * 64})

    monkeypatch.setattr(comparing, "run_trial", run)
    with pytest.raises(ValueError, match="another policy was promoted while toy was compared"):
        compare(planted)
    assert len(list_names(planted)) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_in_the_middle_the_same_command_finds_the_same_bytes(tmp_path: Path) -> None:
    policy, store = write_policy(tmp_path / "policy"), tmp_path / "store"
    config = write_config(tmp_path, store, policy)
    log = tmp_path / "compare.log"
    command = ToyCommand("tests.flows.toy_compare", ["compare", str(config)], log)
    for stage in ("train", "evaluate"):
        wish = tmp_path / f"break-{stage}"
        wish.write_text("pause")
        command.kill_when(lambda wish=wish: wish.read_text() == "paused")  # type: ignore[misc]
        wish.unlink()
    command.run()
    elsewhere = ["compare", str(config), "--set", f"store={tmp_path / 'undisturbed'}"]
    ToyCommand("tests.flows.toy_compare", elsewhere, log).run()
    folder = Path(name_folder("toy"))
    found = (store / folder / "report.json").read_bytes()
    assert found == (tmp_path / "undisturbed" / folder / "report.json").read_bytes()
    costs = json.loads((store / folder / "costs.json").read_text())
    assert len({trial["run_id"] for trial in costs["trials"]}) == NUM_TRIALS
