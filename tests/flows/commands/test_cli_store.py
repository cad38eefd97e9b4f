"""The commands around a store: promotions, rollback, approve, reject, gc, trends."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.commands.cli import app
from flows.runs.records import load_record, write_record
from perpo_core.promotion.pointer import load_promoted
from perpo_core.stages.stage import StageContext
from perpo_core.store.locks import lock_name, lock_store, share_store
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from tests.perpo_core.report.trends_fixture import build_nights
from tests.perpo_core.round_fixture import GATES, build_record, build_round, make, policy_of
from tests.perpo_core.small_store import POLICY_DIGEST, build_context
from tests.perpo_core.stores import build_config, find_lost, run_toy

OLD_S = 2 * 24 * 3600


def invoke(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--store", str(store)])


def build_rounds(tmp_path: Path, approval: bool = False) -> StageContext:
    """Two runs, run-first and run-second from it, each promoted or waiting for it."""
    context = build_context(tmp_path, promote=GATES | {"approval": approval})
    for name, base in (("first", POLICY_DIGEST), ("second", policy_of("first"))):
        evaluation, checkpoint = build_round(context, name, base_policy=base)
        promotion = make(context, evaluation, checkpoint)
        record = build_record(context, f"run-{name}", checkpoint, evaluation, promotion)
        write_record(context.store, record)
    return context


def promoted(store: Store) -> str | None:
    pointer = load_promoted(store)
    return pointer.policy_digest if pointer else None


def test_promotions_and_rollback_tell_the_same_story(tmp_path: Path) -> None:
    root = build_rounds(tmp_path).store.root
    listed = invoke(root, "promotions")
    assert listed.exit_code == 0, listed.output
    first, second = [line for line in listed.stdout.splitlines() if "run-" in line]
    assert "current" in second and "current" not in first
    assert policy_of("first")[:12] in first and "grounding sampled_reward +0.0400" in first

    back = invoke(root, "rollback", "--previous")
    assert back.exit_code == 0, back.output
    assert f"is now {policy_of('first')[:12]}; the next run with policy.model" in back.stdout
    assert "undone" in invoke(root, "promotions").stdout
    assert "the policy the rounds began with" in invoke(root, "rollback", "--previous").stdout
    assert promoted(Store(root)) == POLICY_DIGEST
    assert invoke(root, "rollback", policy_of("second")[:8]).exit_code == 0
    assert promoted(Store(root)) == policy_of("second")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rollback"], "name a DIGEST of `perpo promotions`, or --previous"),
        (["rollback", "abc", "--previous"], "and not both"),
        (["rollback", "--previous"], "nothing is promoted in"),
        (["approve", "latest"], "there is no run in"),
        (["reject", "a-run"], "there is no run 'a-run'"),
        (["trends"], "there is no run in"),
    ],
)
def test_errors_are_one_sentence(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = invoke(tmp_path, *arguments)
    assert done.exit_code == 2
    assert said in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_empty_store_is_said_plainly(tmp_path: Path) -> None:
    assert "nothing was promoted in" in invoke(tmp_path, "promotions").stdout
    assert "nothing to remove in" in invoke(tmp_path, "gc").stdout


def test_a_waiting_run_says_how_to_answer_and_its_report_follows_the_answer(
    tmp_path: Path,
) -> None:
    store = build_rounds(tmp_path, approval=True).store
    assert "Waiting for approval" in invoke(store.root, "show", "run-first").stdout
    assert invoke(store.root, "runs").stdout.count("completed, waiting for approval") == 2
    assert promoted(store) is None
    done = invoke(store.root, "approve", "run-first", "--comment", "better boxes")
    assert done.exit_code == 0, done.output
    assert promoted(store) == policy_of("first")
    shown = invoke(store.root, "show", "run-first").stdout
    assert "Promoted: every gate passed, and a person approved (better boxes)." in shown
    assert "promoted by a person" in invoke(store.root, "promotions").stdout

    assert invoke(store.root, "reject", "run-second").exit_code == 0
    assert "a person rejected it" in invoke(store.root, "show", "run-second").stdout
    report = (store.root / "reports" / "run-second" / "report.json").read_text()
    assert '"approval": "rejected"' in report
    assert promoted(store) == policy_of("first")


def age(root: Path) -> None:
    for path in root.rglob("*"):
        os.utime(path, (time.time() - OLD_S, time.time() - OLD_S))


@pytest.fixture
def old_store(toy_config: RefreshConfig) -> Store:
    """Three runs of days ago."""
    for number in range(3):
        config = build_config(Path(toy_config.store), lists={"list_size": 2 + number})
        run_toy(config, number)
    age(Path(toy_config.store))
    return Store(toy_config.store)


def test_gc_only_lists_until_it_is_told_to_delete(old_store: Store) -> None:
    listed = invoke(old_store.root, "gc", "--keep", "1")
    assert listed.exit_code == 0, listed.output
    assert "checkpoint" in listed.stdout and "nothing was removed" in listed.stdout
    assert find_lost(load_record(old_store, "toy-000")) == []
    done = invoke(old_store.root, "gc", "--keep", "1", "--delete")
    assert done.stdout.splitlines()[-1] == "removed"
    assert find_lost(load_record(old_store, "toy-000")) != []
    assert find_lost(load_record(old_store, "toy-002")) == []
    assert "nothing to remove" in invoke(old_store.root, "gc", "--keep", "1", "--delete").stdout


def test_ten_runs_are_kept_unless_said_otherwise(old_store: Store) -> None:
    assert "nothing to remove" in invoke(old_store.root, "gc").stdout
    assert invoke(old_store.root, "gc", "--keep", "0").exit_code == 2


def test_a_forgotten_name_keeps_nothing_and_a_misspelt_one_is_said(old_store: Store) -> None:
    refused = invoke(old_store.root, "gc", "--forget", "tay*", "--delete")
    assert refused.exit_code == 2
    assert "--forget tay*: no run has such a name" in refused.stderr
    listed = invoke(old_store.root, "gc", "--forget", "to?")
    assert "nothing was removed" in listed.stdout
    assert invoke(old_store.root, "gc", "--forget", "to?", "--delete").stdout.endswith("removed\n")


def test_gc_and_runs_keep_out_of_each_others_way(old_store: Store) -> None:
    with lock_name(old_store, "toy"):
        refused = invoke(old_store.root, "gc", "--keep", "1", "--delete")
        assert refused.exit_code == 2 and "a run of 'toy' is going on" in refused.stderr
    with share_store(old_store):
        refused = invoke(old_store.root, "gc", "--keep", "1", "--delete")
        assert refused.exit_code == 2 and "another perpo command is going on" in refused.stderr
    assert find_lost(load_record(old_store, "toy-000")) == []
    with lock_store(old_store):
        with pytest.raises(ValueError, match="perpo gc is at work in"), lock_name(old_store, "new"):
            raise AssertionError("a run began")
        assert "perpo gc is at work" in invoke(old_store.root, "rollback", "--previous").stderr


def test_trends_prints_where_the_page_is(tmp_path: Path) -> None:
    build_nights(tmp_path, num=2)
    done = invoke(tmp_path, "trends")
    assert done.stdout.strip() == str(tmp_path / "reports" / "trends.html")
    one = invoke(tmp_path, "trends", "--name", "nightly")
    assert one.stdout.strip().endswith("trends-nightly.html")


@pytest.mark.usefixtures("prefect_server")
def test_a_run_leaves_the_page_of_all_runs_beside_its_report(toy_config: RefreshConfig) -> None:
    from flows.recipes.refresh import refresh

    record = refresh(toy_config)
    page = (Path(toy_config.store) / "reports" / "trends.html").read_text()
    assert f'href="{record.run_id}/report.html"' in page
    (Path(toy_config.store).parent / "break-train").write_text("input")
    with pytest.raises(ValueError, match="told to fail"):
        refresh(toy_config, force_from="train")
    page = (Path(toy_config.store) / "reports" / "trends.html").read_text()
    assert "stopped in train: toy train was told to fail" in page
    assert record.report is not None
    assert 'href="../trends.html"' in (Path(toy_config.store) / record.report).read_text()
