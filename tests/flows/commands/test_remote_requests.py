"""What a refresh asks of a bucket does not grow with three times the runs ever made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flows.runs.records import close_killed, count_runs, load_records, write_record
from perpo_core.report.trends import write_trends
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from schemas.run import RunRecord
from tests.s3 import REQUESTS, Machines

NUM_RUNS = 200
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def build_record(number: int, **changes: Any) -> RunRecord:
    record = RunRecord(
        run_id=f"digits-{number:03}", number=number, status="completed", config=RefreshConfig(),
        policy_digest="a" * 64, policy_folder=Path("policy"),
        started_at=NOON + timedelta(hours=number),
    )  # fmt: skip
    return record.model_copy(update=changes)


def count_asked(work: Callable[[], object]) -> tuple[int, int]:
    """How many (records, requests in all) it asked for."""
    before = len(REQUESTS)
    work()
    asked = REQUESTS[before:]
    records = [r for r in asked if r.startswith("GET") and "/runs/digits-" in r]
    return len(records), len(asked)


def read_as_a_refresh(store: Store) -> None:
    """Its number, the dead before it, and the page of all runs at its end."""
    assert count_runs(store) == NUM_RUNS
    close_killed(store, "digits")
    write_trends(store, load_records(store))


def test_records_are_fetched_once_a_machine_and_after_every_change(machines: Machines) -> None:
    here = machines.open("here")
    records = [build_record(number) for number in range(1, NUM_RUNS + 1)]
    here.remote.map(lambda record: write_record(here, record), records)
    there = machines.open("there")
    first, _ = count_asked(lambda: read_as_a_refresh(there))
    assert first == NUM_RUNS
    assert load_records(there) == records

    there = machines.open("there")  # a process that starts
    again, in_all = count_asked(lambda: read_as_a_refresh(there))
    assert again == 0
    assert in_all < 100  # the reports of the newest 60 runs, which the page shows

    changed = build_record(7, error="noted on another machine")
    write_record(machines.open("here"), changed)
    there = machines.open("there")
    assert count_asked(lambda: load_records(there))[0] == 1
    assert changed in load_records(there)
