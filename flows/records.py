"""Run records: <store>/runs/<run-id>.json, written after every stage, found again by name."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

from perpo_core.store import Store
from schemas.run import RunRecord

LATEST = "latest"
KILLED = "its process died without a word; what it finished stays in the store"
RUNS = "runs"
MAX_ID_LENGTH = 128  # twice what a name may have; a file system takes some 250


def new_run_id(store: Store, name: str, now: datetime) -> str:
    """Such as "digits-20261122-104500": name and UTC time, with a number behind it if taken."""
    base = f"{name}-{now:%Y%m%d-%H%M%S}"
    run_id, number = base, 1
    while store.read(_name(run_id)) is not None:
        number += 1
        run_id = f"{base}-{number}"
    return run_id


def count_runs(store: Store) -> int:
    """The number of the newest run."""
    return max((record.number for record in load_records(store)), default=0)


def write_record(store: Store, record: RunRecord) -> None:
    """Replace the run's record."""
    store.write(_name(record.run_id), record.model_dump_json(indent=2).encode())


def close_killed(store: Store, name: str) -> None:
    """Mark the runs that still say running; only who holds the lock of their name knows."""
    for record in load_records(store):
        if record.config.name == name and record.status == "running":
            write_record(store, record.model_copy(update={"status": "killed", "error": KILLED}))


def load_record(store: Store, run: str) -> RunRecord:
    """The record of a run id or "latest"; raises ValueError if there is none."""
    if run == LATEST:
        return _load_latest(store)
    body = store.read(_name(run))
    if body is None:
        raise ValueError(f"there is no run {run!r} in {store.place}; `perpo runs` lists them")
    return RunRecord.model_validate_json(body)


def load_records(store: Store) -> list[RunRecord]:
    """All runs, oldest first."""
    bodies = store.read_all(store.list_files(RUNS, ".json"))
    records = [RunRecord.model_validate_json(body) for body in bodies.values()]
    return sorted(records, key=lambda record: record.order)


def _load_latest(store: Store) -> RunRecord:
    records = load_records(store)
    if not records:
        raise ValueError(
            f"there is no run in {store.place} yet; start one with `perpo refresh`, or name the "
            "right store with --store"
        )
    return records[-1]


def _name(run_id: str) -> str:
    if run_id != Path(run_id).name or run_id in ("", ".", "..") or len(run_id) > MAX_ID_LENGTH:
        raise ValueError(f"{json.dumps(run_id)} is not a run id; `perpo runs` lists them")
    return f"{RUNS}/{run_id}.json"
