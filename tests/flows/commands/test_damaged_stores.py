"""Damaged and foreign files in a store: every command goes on and names each of them once."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.commands.cli import app
from flows.runs.records import load_records, new_run_id
from perpo_core.promotion.pointer import load_history, load_promoted, roll_back
from perpo_core.store.store import Store
from tests.damage import DAMAGES, copy_store, spoil
from tests.flows.toy import install, write_policy

FIRST, SECOND = "toy-20261128-190645", "toy-20261128-190658"
WAITING, FAILED = "toy-20261128-190720", "toy-20261128-190733"
PROMOTED_FIRST, PROMOTED_SECOND = "dfab84859c2e", "ae657261abbc"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def check(result: Result) -> Result:
    assert result.exit_code == 0, (result.output, result.exception)
    assert "Traceback" not in result.output and "ValidationError" not in result.output
    return result


def count_named(result: Result, store: Path, path: Path) -> int:
    """How often a file is named, on both streams."""
    line_of_it = f"left out: {store}/{path.relative_to(store)}: "
    return sum(line.startswith(line_of_it) for line in result.output.splitlines())


@pytest.fixture(autouse=True)
def toy_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch.setitem)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three rounds and a failed run; the second's policy is promoted, the third waits."""
    folder = copy_store(tmp_path / "store")
    roll_back(Store(folder), PROMOTED_SECOND)
    return folder


@pytest.fixture
def config(store: Path) -> list[str]:
    """As options of refresh, plan and doctor."""
    policy = write_policy(store.parent / "policy")
    settings = [f"store={store}", "name=toy", "policy.model=promoted", f"policy.base={policy}"]
    return [word for setting in settings for word in ("--set", setting)]


def spoil_all(store: Path) -> tuple[list[Path], list[Path]]:
    """Spoilt in every way: run records, and the commits of tables that nothing names."""
    records, commits = [], []
    for number, damage in enumerate(DAMAGES):
        runs = store / "runs"
        for name in (f"toy-20261127-0000{number:02}", f"copy-{number}"):
            records.append(spoil(runs / f"{name}.json", damage))
        commits.append(spoil(store / "references" / f"{number:064x}" / "artifact.json", damage))
    shutil.copy(runs / f"{FIRST}.json", runs / "foo.json")
    return [*records, runs / "foo.json"], commits


COMMANDS = {
    "runs": [], "show latest": [], "promotions": [], "trends": [],
    "gc --keep 1": ["commits"], "gc --keep 1 --delete": ["commits"],
    "rollback --previous": None, "plan": [], "doctor": None, "report latest": [],
    f"reject {WAITING}": [], f"approve {WAITING}": [],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_goes_on_and_names_each_file_once(
    command: str, store: Path, config: list[str]
) -> None:
    records, commits = spoil_all(store)
    words = command.split()
    options = config if words[0] in ("plan", "doctor") else ["--store", str(store)]
    result = check(invoke(*words, *options))
    reads = COMMANDS[command]
    counts = [count_named(result, store, path) for path in records]
    assert counts == [0 if reads is None else 1] * len(records), result.output
    named = [count_named(result, store, path) for path in commits]
    assert max(named) <= 1
    assert not reads or named == [1] * len(commits), result.output


def test_another_runs_record_does_not_matter_to_a_run_that_is_named(store: Path) -> None:
    spoil_all(store)
    assert check(invoke("show", FIRST, "--store", store)).stderr == ""


@pytest.mark.parametrize(
    "damage", [d for d in DAMAGES if d not in ("a folder", "a link to nothing")]
)
def test_a_run_whose_own_record_is_damaged_is_one_sentence(damage: str, store: Path) -> None:
    spoil(store / "runs" / f"{SECOND}.json", damage)
    for words in (["show", SECOND], ["rerun", SECOND, "--from", "train"], ["approve", SECOND]):
        result = invoke(*words, "--store", store)
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        assert f"{store}/runs/{SECOND}.json: it is" in result.stderr


def test_latest_is_never_silently_an_older_run_for_what_acts_on_it(store: Path) -> None:
    spoil(store / "runs" / f"{WAITING}.json", "cut off")
    (store / "runs" / f"{FAILED}.json").unlink()
    assert SECOND in check(invoke("show", "--store", store)).stdout
    for words in (["approve"], ["reject"], ["export"], ["rerun", "--from", "train"]):
        place = [store.parent / "out"] if words == ["export"] else []
        refused = invoke(words[0], "latest", *place, *words[1:], "--store", store)
        assert refused.exit_code == 2
        assert f"since runs/{WAITING}.json cannot be read; name the run" in refused.stderr


def test_an_export_goes_on_and_names_each_file_once(store: Path, tmp_path: Path) -> None:
    records, _ = spoil_all(store)
    result = check(invoke("export", SECOND, tmp_path / "out", "--store", store))
    assert [count_named(result, store, path) for path in records] == [1] * len(records)


@pytest.mark.usefixtures("prefect_server")
def test_a_refresh_and_a_rerun_go_on_and_name_each_file_once(
    store: Path, config: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    records, commits = spoil_all(store)
    pointer = spoil(store / "promoted" / "current.json", "cut off")
    logged: list[str] = []

    def note(line: logging.LogRecord) -> bool:
        logged.append(line.getMessage())
        return True

    # Not a handler: Prefect sets those anew when a flow starts.
    monkeypatch.setattr(logging.getLogger("prefect.flow_runs"), "filters", [note])
    for words in (["refresh", *config], ["rerun", SECOND, "--from", "train", "--store", store]):
        before = len(load_records(Store(store)))
        logged.clear()
        result = check(invoke(*words))
        assert len([line for line in logged if str(records[0]) in line]) == 1, "in the run's log"
        assert count_named(result, store, pointer) == (words[0] == "refresh")
        assert [count_named(result, store, path) for path in records] == [1] * len(records)
        assert max(count_named(result, store, path) for path in commits) <= 1
        assert len(load_records(Store(store))) == before + 1


def test_nothing_is_removed_while_a_record_of_ours_cannot_be_read(store: Path) -> None:
    """The runs of an unreadable record may be kept ones; a foreign file keeps nothing."""
    foreign = spoil(store / "runs" / "notes.json", "text")
    ours = spoil(store / "runs" / f"{FIRST}.json", "cut off")
    commits = sorted(store.glob("*/*/artifact.json"))
    result = check(invoke("gc", "--keep", "1", "--delete", "--store", store))
    assert f"nothing was removed, since what is to be kept is not known: runs/{FIRST}.json" in (
        result.stdout
    )
    assert "notes.json" not in result.stdout
    assert sorted(store.glob("*/*/artifact.json")) == commits
    ours.rename(store / "set-aside")
    assert foreign.exists()
    removed = check(invoke("gc", "--keep", "1", "--delete", "--store", store))
    assert removed.stdout.splitlines()[-1].startswith(("removed", "nothing to remove"))


def test_nothing_is_removed_while_a_kept_commit_cannot_be_read(store: Path) -> None:
    entry = next(r for r in load_records(Store(store)) if r.run_id == SECOND).stages["evaluate"]
    spoil(store / "evaluation" / entry.key / "artifact.json", "cut off")
    spoil(store / "scores" / ("f" * 64) / "artifact.json", "empty")
    age(store)
    result = check(invoke("gc", "--delete", "--store", store))
    assert f"is not known: evaluation/{entry.key}/artifact.json cannot be read" in result.stdout


def age(store: Path) -> None:
    import os

    for path in store.rglob("*"):
        os.utime(path, (1e9, 1e9), follow_symlinks=False)


POINTER_COMMANDS = ["promotions", "plan", "gc", "trends", "runs", "rollback --previous"]


@pytest.fixture
def each_damage(tmp_path: Path) -> Iterator[tuple[str, Path, list[str]]]:
    policy = write_policy(tmp_path / "policy")

    def build() -> Iterator[tuple[str, Path, list[str]]]:
        for number, damage in enumerate(DAMAGES):
            store = copy_store(tmp_path / f"store-{number}")
            roll_back(Store(store), PROMOTED_SECOND)
            settings = [f"store={store}", "policy.model=promoted", f"policy.base={policy}"]
            yield damage, store, [word for each in settings for word in ("--set", each)]

    return build()


def test_a_damaged_pointer_is_recovered_from_its_history(
    each_damage: Iterator[tuple[str, Path, list[str]]],
) -> None:
    for damage, store, config in each_damage:
        pointer = spoil(store / "promoted" / "current.json", damage)
        for command in POINTER_COMMANDS:
            options = config if command == "plan" else ["--store", str(store)]
            result = check(invoke(*command.split(), *options))
            reads = command not in ("trends", "runs")
            assert count_named(result, store, pointer) == reads, (damage, command, result.output)
            if reads:
                assert f"{PROMOTED_SECOND}, promoted last by promoted/history.jsonl, counts" in (
                    result.stderr
                )
            if command == "plan":
                assert f"policy {PROMOTED_SECOND}" in result.stdout
        promoted = load_promoted(Store(store))
        assert promoted is not None and promoted.policy_digest.startswith(PROMOTED_FIRST)
        assert check(invoke("promotions", "--store", store)).stderr == "", "it is mended"


def test_a_pointer_that_is_gone_is_recovered_too(store: Path) -> None:
    (store / "promoted" / "current.json").unlink()
    result = check(invoke("promotions", "--store", store))
    assert "it is missing; ae657261abbc, promoted last by" in result.stderr
    assert "current" in result.stdout.splitlines()[-2]


def test_damaged_lines_are_named_by_number_and_stay(store: Path) -> None:
    history = store / "promoted" / "history.jsonl"
    lines = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"".join([lines[0], b'{"policy\n', *lines[1:], b"\xff\x00\n", b'{"cut']))
    before = history.read_bytes()
    said = check(invoke("promotions", "--store", store))
    assert count_named(said, store, history) == 1
    assert f"{history}: lines 2, 6, 7 cannot be read" in said.stderr
    check(invoke("rollback", "--previous", "--store", store))
    assert history.read_bytes().startswith(before + b"\n")
    moves = load_history(Store(store))
    assert len(moves) == 5 and moves[-1] == load_promoted(Store(store))


def test_damaged_answers_are_named_and_the_others_count(store: Path) -> None:
    answers = store / "promoted" / "approvals.jsonl"
    answers.write_bytes(b"\x00\n" + answers.read_bytes() + b"{")
    said = check(invoke("reject", WAITING, "--store", store))
    assert f"{answers}: lines 1, 3 cannot be read" in said.stderr
    assert "a person rejected it" in check(invoke("show", WAITING, "--store", store)).stdout


def test_where_neither_tells_nothing_starts_from_promoted_and_nothing_is_removed(
    store: Path, config: list[str]
) -> None:
    for name in ("current.json", "history.jsonl"):
        spoil(store / "promoted" / name, "binary")
    for words in (["plan", *config], ["rollback", "--previous", "--store", store]):
        refused = invoke(*words)
        assert refused.exit_code == 2
        assert "what is promoted in" in refused.stderr and "is not known" in refused.stderr
    age(store)
    shutil.rmtree(store / "runs")
    result = check(invoke("gc", "--delete", "--store", store))
    assert "is not known: promoted/current.json cannot be read" in result.stdout
    check(invoke("promotions", "--store", store))


def test_a_history_that_lost_its_start_does_not_tell_where_the_rounds_began(store: Path) -> None:
    history = store / "promoted" / "history.jsonl"
    lines = history.read_bytes().splitlines(keepends=True)
    history.write_bytes(b"{\n" + lines[1])
    (store / "promoted" / "current.json").write_bytes(lines[1])
    refused = invoke("rollback", "--previous", "--store", store)
    assert refused.exit_code == 2
    assert "which policy the rounds began with" in refused.stderr


def test_a_damaged_report_is_named_and_its_run_stays_in_the_trends(store: Path) -> None:
    damaged = spoil(store / "reports" / FIRST / "report.json", "cut off")
    result = check(invoke("trends", "--store", store))
    assert count_named(result, store, damaged) == 1
    assert FIRST in (store / "reports" / "trends.html").read_text()


def change_config(store: Path, run: str, section: str, name: str, value: object) -> None:
    for path in (store / "runs" / f"{run}.json", store / "reports" / run / "report.json"):
        record = json.loads(path.read_text())
        record["config"][section][name] = value
        path.write_text(json.dumps(record))


SETTINGS = [("train", "newknob", 3), ("score", "shards_per_task", 4), ("train", "beta", "much")]


@pytest.mark.parametrize(("section", "name", "value"), SETTINGS)
def test_a_run_of_another_version_is_listed_shown_kept_and_told_of(
    section: str, name: str, value: object, store: Path
) -> None:
    change_config(store, SECOND, section, name, value)
    for command in ("runs", "trends", "gc", "promotions"):
        assert check(invoke(command, "--store", store)).stderr == ""
    assert SECOND in invoke("runs", "--store", store).stdout
    page = (store / "reports" / "trends.html").read_text()
    assert f"{section}.{name}" in page, "the next night's differences"
    assert page.count("+0.100") >= 2, "its numbers are read all the same"
    said = f"{section}.{name} = {json.dumps(value)}"
    assert said in check(invoke("show", SECOND, "--store", store)).stdout
    refused = invoke("rerun", SECOND, "--from", "train", "--store", store)
    assert refused.exit_code == 2 and len(refused.stderr.splitlines()) == 1
    assert f"whose settings {said} this one does not have; start a new run" in refused.stderr


def test_a_run_of_a_newer_version_is_not_run_again(store: Path) -> None:
    path = store / "runs" / f"{SECOND}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99, "mood": 1}))
    assert SECOND in check(invoke("runs", "--store", store)).stdout
    refused = invoke("rerun", SECOND, "--from", "train", "--store", store)
    assert refused.exit_code == 2 and "newer version of perpo; update perpo" in refused.stderr


def test_a_dead_run_of_another_version_is_closed_and_loses_nothing(store: Path) -> None:
    from flows.runs.records import close_killed, load_record

    path = store / "runs" / f"{FAILED}.json"
    raw = json.loads(path.read_text())
    raw["config"]["train"]["newknob"] = 3
    path.write_text(json.dumps(raw | {"status": "running", "mood": "new"}))
    close_killed(Store(store), "toy")
    assert load_record(Store(store), FAILED).status == "killed"
    after = json.loads(path.read_text())
    assert after["config"]["train"]["newknob"] == 3 and after["mood"] == "new"


def test_a_new_run_never_takes_the_id_of_a_damaged_one(store: Path) -> None:
    from datetime import UTC, datetime

    spoil(store / "runs" / f"{SECOND}.json", "empty")
    now = datetime(2026, 11, 28, 19, 6, 58, tzinfo=UTC)
    assert new_run_id(Store(store), "toy", now) == f"{SECOND}-2"
