"""Nights that go wrong under `perpo serve`: what Prefect says, what is left, what comes next."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.commands.tables import describe_status
from flows.runs.records import load_record, load_records
from perpo_core.store.locks import is_locked
from perpo_core.store.store import Store
from schemas.run import RunRecord
from tasks.slots import LEASE_S
from tests.flows.api import wait_until
from tests.flows.served import Served, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
TRUE_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served") / "store") as running:
        yield running


@pytest.fixture
def wish(served: Served) -> Iterator[Path]:
    """The file that says how train shall behave."""
    path = served.store.parent / "break-train"
    yield path
    path.unlink(missing_ok=True)


def load_latest(served: Served) -> RunRecord:
    return load_record(Store(served.store), "latest")


def list_made(served: Served) -> list[str]:
    return [stage for stage, entry in load_latest(served).stages.items() if not entry.reused]


def expect_resumption(served: Served, wish: Path, beta: str) -> None:
    """Nothing of the run is left, and the next one makes only what is missing."""
    assert served.find_children() == []
    assert served.count_taken() == 0
    wish.unlink()
    run = served.start("refresh/on-demand", overrides=[f"train.beta={beta}"])
    served.wait_for(run, "Completed")
    assert list_made(served) == ["train", "evaluate", "promote"]


def test_a_run_cancelled_in_the_ui_ends_whole_and_resumes(served: Served, wish: Path) -> None:
    wish.write_text("hold")
    run = served.start("refresh/on-demand", overrides=["train.beta=0.31"])
    wait_until(served.find_children, 90)
    assert served.count_taken() == 1
    served.change_state(run, "CANCELLING", "Cancelling")
    asked_s = time.monotonic()
    served.wait_for(run, "Cancelled", TRUE_WITHIN_S)
    print(f"Cancelled after {time.monotonic() - asked_s:.1f} s")
    record = load_latest(served)
    assert record.status == "cancelled"
    assert record.error == (
        "cancelled in Prefect; what is finished stays in the store and the next run resumes"
    )
    expect_resumption(served, wish, "0.31")


def test_a_child_that_hangs_fails_its_run_with_all_it_started(served: Served, wish: Path) -> None:
    wish.write_text("stop")
    settings = ["train.beta=0.32", "train.progress_timeout_s=3"]
    run = served.start("refresh/on-demand", overrides=settings)
    wait_until(served.find_children, 90)
    state = served.wait_for(run, "Failed", 150)["state"]  # two retries, 5 and 30 s apart
    assert "reported no progress for 3 s and was ended" in state["message"]
    assert load_latest(served).status == "failed"
    expect_resumption(served, wish, "0.32")


def test_two_refreshes_of_one_configuration_never_mix(served: Served, wish: Path) -> None:
    """The deployment of the night is refused in a sentence, a second run by hand waits."""
    wish.write_text("wait")
    settings = ["train.beta=0.33"]
    first = served.start("refresh/on-demand", overrides=settings)
    store = Store(served.store)
    wait_until(lambda: is_locked(store, "default") and served.count_taken() == 1, 90)
    same = {"config_file": "infra/configs/default.toml", "overrides": settings}
    second = served.start("refresh/nightly", **same)
    message = served.wait_for(second, "Failed")["state"]["message"]
    assert "a run of 'default' is going on in" in message
    assert "wait until it has ended, or start this one under another name" in message
    third = served.start("refresh/on-demand", overrides=settings)
    served.wait_for(third, "AwaitingConcurrencySlot")
    wish.unlink()
    served.wait_for(third, "Completed", 150)
    records = [r for r in load_records(store) if r.flow_run_id in (first, second, third)]
    ends = [(record.flow_run_id, record.status) for record in records]
    assert ends == [(first, "completed"), (third, "completed")]
    made = [[stage for stage, entry in r.stages.items() if not entry.reused] for r in records]
    assert (made[0][-3:], made[1]) == (["train", "evaluate", "promote"], [])


def test_retry_by_the_command_line_and_a_stage_by_itself(served: Served, wish: Path) -> None:
    wish.write_text("input")
    run = served.start("refresh/on-demand", overrides=["train.beta=0.34"])
    message = served.wait_for(run, "Failed")["state"]["message"]
    assert "toy train was told to fail" in message
    served.wait_for_exit(run)
    wish.unlink()
    served.prefect("flow-run", "retry", run)
    assert served.wait_for(run, "Completed")["run_count"] == 2
    assert list_made(served) == ["train", "evaluate", "promote"]
    served.prefect("deployment", "run", "train/stage", "-p", "run=latest", "--watch")
    record = load_latest(served)
    assert (record.status, list_made(served)) == ("completed", ["train"])
    assert "evaluate" not in record.stages


def test_a_power_cut_is_seen_and_the_dead_run_can_be_retried(tmp_path: Path) -> None:
    store, wish = tmp_path / "store", tmp_path / "break-train"
    wish.write_text("hold")
    with serving(store) as served:
        run = served.start("refresh/on-demand")
        wait_until(served.find_children, 90)
        for pid in [served.process.pid, *served.find_processes()]:
            with suppress(ProcessLookupError):  # its supervisor was faster
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not served.find_processes(), 20)
    [dead] = load_records(Store(store))
    assert describe_status(Store(store), dead) == "killed"
    wish.unlink()
    with serving(store) as served:
        reachable_s = time.monotonic()
        state = served.wait_for(run, "Crashed", TRUE_WITHIN_S)["state"]
        print(f"Crashed after {time.monotonic() - reachable_s:.0f} s")
        assert state["message"].startswith("Its process died")
        served.prefect("flow-run", "retry", run)
        served.wait_for(run, "Completed", 150)
        assert list_made(served) == ["train", "evaluate", "promote"]
        assert [record.status for record in load_records(Store(store))] == ["killed", "completed"]
        wait_until(lambda: served.count_taken() == 0, LEASE_S)


@pytest.mark.parametrize("state", ["PENDING", "RUNNING"])
def test_a_night_that_was_killed_does_not_cancel_the_next(state: str, tmp_path: Path) -> None:
    store, wish = tmp_path / "store", tmp_path / "break-train"
    wish.write_text("hold")
    with serving(store) as served:
        night = served.start("refresh/nightly")
        wait_until(lambda: served.read_run(night)["state_type"] == state, 90)
        if state == "RUNNING":
            wait_until(served.find_children, 90)
        served.process.kill()
        wait_until(lambda: not served.find_processes(), 20)
    wish.unlink()
    with serving(store) as served:
        assert served.read_run(night)["state_name"] == "Crashed"
        following = served.start("refresh/nightly")
        served.wait_for(following, "Completed")
        ends = ["killed", "completed"] if state == "RUNNING" else ["completed"]
        assert [record.status for record in load_records(Store(store))] == ends


def test_a_run_that_its_worker_never_begins_is_crashed(tmp_path: Path) -> None:
    """As one is left that was taken by a worker of another machine."""
    with serving(tmp_path / "store", start_s=15) as served:
        run = served.start_at("collect/stage", datetime.now(UTC) + timedelta(days=1))
        served.change_state(run, "PENDING", "Pending")
        taken_s = time.monotonic()
        state = served.wait_for(run, "Crashed", 60)["state"]
        assert time.monotonic() - taken_s > 14
        assert state["message"].startswith("Its worker took it and never began. Retry it")
        night = served.start("refresh/nightly")
        served.wait_for(night, "Completed")


def test_nights_missed_while_the_machine_was_off_are_made_up_for_by_one_run(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with serving(store) as served:
        due = datetime.now(UTC) + timedelta(seconds=20)
        nights = [served.start_at("refresh/nightly", due + timedelta(seconds=n)) for n in range(3)]
        assert {served.read_run(run)["state_name"] for run in nights} == {"Scheduled"}
        served.process.send_signal(signal.SIGTERM)
        served.process.communicate(timeout=30)
    time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()) + 25)  # Late after 15 s
    with serving(store) as served:
        ends = {"COMPLETED", "CANCELLED"}
        wait_until(lambda: all(served.read_run(run)["state_type"] in ends for run in nights), 120)
        states = sorted(served.read_run(run)["state_name"] for run in nights)
        assert states == ["Cancelled", "Cancelled", "Completed"]
        assert len(load_records(Store(store))) == 1
