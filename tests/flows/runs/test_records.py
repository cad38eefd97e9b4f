"""Run records: listed oldest first; what a kill left half-written is not one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows.runs.records import close_killed, load_record, load_records, new_run_id, write_record
from perpo_core.store.store import Store
from schemas.config import RefreshConfig
from schemas.run import RunRecord

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def write_run(store: Store, started_at: datetime) -> RunRecord:
    record = RunRecord(
        run_id=new_run_id(store, "digits", started_at),
        status="running",
        config=RefreshConfig(),
        policy_digest="a" * 64,
        policy_folder=Path("policy"),
        started_at=started_at,
    )
    write_record(store, record)
    return record


def test_runs_are_listed_oldest_first_and_latest_is_the_newest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    newer = write_run(store, NOON + timedelta(seconds=1))
    older = write_run(store, NOON)
    assert load_records(store) == [older, newer]
    assert load_record(store, "latest") == newer


def test_two_runs_in_one_second_have_two_names(tmp_path: Path) -> None:
    store = Store(tmp_path)
    names = [write_run(store, NOON).run_id for _ in range(2)]
    assert names == ["digits-20261122-120000", "digits-20261122-120000-2"]


@pytest.mark.parametrize("left", [b"", b'{"run_id": "dig'])
def test_what_a_kill_left_half_written_is_no_run(tmp_path: Path, left: bytes) -> None:
    store = Store(tmp_path)
    record = write_run(store, NOON)
    (tmp_path / "runs" / ".tmp-8e7rq4nq20261122-120000.json").write_bytes(left)
    assert load_records(store) == [record]
    assert load_record(store, "latest") == record


def test_who_holds_the_lock_of_a_name_marks_its_dead_runs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    dead = write_run(store, NOON)
    done = write_run(store, NOON + timedelta(seconds=1)).model_copy(update={"status": "completed"})
    other = write_run(store, NOON + timedelta(seconds=2))
    other = other.model_copy(update={"config": RefreshConfig(name="other")})
    for record in (done, other):
        write_record(store, record)
    close_killed(store, dead.config.name)
    assert [record.status for record in load_records(store)] == ["killed", "completed", "running"]
    closed = load_record(store, dead.run_id)
    assert closed.error is not None and closed.error.startswith("its process died without a word")
    assert closed.model_copy(update={"status": "running", "error": None}) == dead
