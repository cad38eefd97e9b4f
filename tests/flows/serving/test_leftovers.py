"""What is ended when `perpo serve` serves again: runs of its dead worker, and nobody else's."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from flows.serving.leftovers import TAKEN_BY, end_leftovers
from flows.serving.serve import WORKER
from tests.flows.api import Api

NUMBERS = itertools.count()
OTHER = "ProcessWorker of another machine"
STATES = {
    "Scheduled": ("SCHEDULED",),
    "Pending": ("SCHEDULED", "PENDING"),
    "Running": ("SCHEDULED", "PENDING", "RUNNING"),
    "Cancelling": ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING"),
    "CancellingPending": ("SCHEDULED", "PENDING", "CANCELLING"),
    "Suspended": ("SCHEDULED", "PENDING", "RUNNING", "PAUSED"),
    "AwaitingRetry": ("SCHEDULED", "PENDING", "RUNNING", "FAILED", "SCHEDULED"),
    "Completed": ("SCHEDULED", "PENDING", "RUNNING", "COMPLETED"),
}  # fmt: skip
ENDS = {
    "Pending": "Crashed", "Running": "Crashed",
    "Cancelling": "Cancelled", "CancellingPending": "Cancelled",
}  # fmt: skip


class Pool(Api):
    """A work pool, whose deployments run one at a time and cancel what comes besides."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.name = f"pool-{next(NUMBERS)}"
        self.call("POST", "work_pools/", {"name": self.name, "type": "process"})
        self.said: list[str] = []

    def deploy(self) -> str:
        """A new deployment's id."""
        name = f"nightly-{next(NUMBERS)}"
        flow = self.call("POST", "flows/", {"name": "refresh"})["id"]
        body = {
            "name": name, "flow_id": flow, "work_pool_name": self.name, "concurrency_limit": 1,
            "concurrency_options": {"collision_strategy": "CANCEL_NEW"},
        }  # fmt: skip
        return str(self.call("POST", "deployments/", body)["id"])

    def start_run(self, deployment: str, *kinds: str, taken_by: str | None = None) -> str:
        """A run that came through these states, taken by a worker of that name; its id."""
        path = f"deployments/{deployment}/create_flow_run"
        run = str(self.call("POST", path, {"state": {"type": kinds[0]}})["id"])
        for kind in kinds[1:]:
            details = {"pause_reschedule": True} if kind == "PAUSED" else {}
            state = {"type": kind, "state_details": details}
            self.call("POST", f"flow_runs/{run}/set_state", {"state": state})
            if kind == "PENDING" and taken_by is not None:
                self.call("PATCH", f"flow_runs/{run}/labels", {TAKEN_BY: taken_by})
        return run

    def beat(self, worker: str) -> None:
        self.call("POST", f"work_pools/{self.name}/workers/heartbeat", {"name": worker})

    def end_leftovers(self) -> None:
        end_leftovers(self.name, WORKER, self.said.append)

    def read_state(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.read_run(run)["state"]
        return found


@pytest.fixture
def pool(prefect_server: None) -> Iterator[Pool]:
    from prefect.settings import PREFECT_API_URL

    address = PREFECT_API_URL.value()
    assert address is not None
    yield Pool(address)


@pytest.mark.parametrize("name", STATES)
def test_a_dead_workers_run_is_ended_and_the_next_has_its_slot(name: str, pool: Pool) -> None:
    deployment = pool.deploy()
    run = pool.start_run(deployment, *STATES[name], taken_by=WORKER)
    pool.beat(OTHER)
    before = pool.read_state(run)
    pool.end_leftovers()
    state = pool.read_state(run)
    assert state["name"] == ENDS.get(name, before["name"])
    assert len(pool.said) == (name in ENDS)
    following = pool.start_run(deployment, "SCHEDULED", "PENDING")
    assert pool.read_state(following)["name"] == "Pending"


def test_what_is_said_of_them(pool: Pool) -> None:
    runs = {
        name: pool.start_run(pool.deploy(), *STATES[name], taken_by=WORKER)
        for name in ("Pending", "Running")
    }
    pool.end_leftovers()
    assert [pool.read_state(run)["message"] for run in runs.values()] == [
        "Its worker ended before it began. Retry it, or start the same again: what is finished is "
        "reused.",
        "Its process died with its worker. Retry it, or start the same again: what is finished is "
        "reused.",
    ]
    names = {pool.read_run(run)["name"]: name for name, run in runs.items()}
    assert sorted(pool.said) == sorted(
        f"run {run} was {name} when the last `perpo serve` ended: Crashed now"
        for run, name in names.items()
    )


@pytest.mark.parametrize("name", ["Pending", "Running", "Cancelling"])
def test_a_run_of_another_worker_or_by_hand_goes_on(name: str, pool: Pool) -> None:
    theirs = pool.start_run(pool.deploy(), *STATES[name], taken_by=OTHER)
    pool.beat(OTHER)
    by_hand = pool.call("POST", "flow_runs/", {
        "flow_id": pool.read_run(theirs)["flow_id"], "state": {"type": "RUNNING"},
    })["id"]  # fmt: skip
    pool.end_leftovers()
    assert pool.read_state(theirs)["name"] == pool.read_state(theirs)["type"].capitalize()
    assert pool.read_state(theirs)["type"] == STATES[name][-1]
    assert pool.read_state(by_hand)["type"] == "RUNNING"
    assert pool.said == []


def test_what_no_worker_has_put_its_name_on_may_be_that_of_one_who_lives(pool: Pool) -> None:
    pool.beat(WORKER)
    pool.beat(OTHER)
    run = pool.start_run(pool.deploy(), *STATES["Pending"])
    pool.end_leftovers()
    assert pool.read_state(run)["name"] == "Pending"


def test_what_no_worker_has_put_its_name_on_was_ours_where_there_is_no_other(pool: Pool) -> None:
    pool.beat(WORKER)
    run = pool.start_run(pool.deploy(), *STATES["Pending"])
    pool.end_leftovers()
    assert pool.read_state(run)["name"] == "Crashed"


def test_more_runs_than_a_page_holds(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.serving.leftovers.PAGE", 2)
    runs = [pool.start_run(pool.deploy(), *STATES["Pending"], taken_by=WORKER) for _ in range(5)]
    pool.end_leftovers()
    assert {pool.read_state(run)["name"] for run in runs} == {"Crashed"}


def test_a_run_whose_deployment_is_gone_keeps_no_other_from_ending(pool: Pool) -> None:
    gone = pool.deploy()
    orphan = pool.start_run(gone, *STATES["Pending"], taken_by=WORKER)
    run = pool.start_run(pool.deploy(), *STATES["Pending"], taken_by=WORKER)
    pool.call("DELETE", f"deployments/{gone}")
    pool.end_leftovers()
    assert [pool.read_state(each)["name"] for each in (orphan, run)] == ["Pending", "Crashed"]


def test_nothing_is_left_over_where_there_is_no_pool_yet(prefect_server: None) -> None:
    said: list[str] = []
    end_leftovers("no-such-pool", WORKER, said.append)
    assert said == []
