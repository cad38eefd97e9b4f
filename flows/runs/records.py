"""Run records: <store>/runs/<run-id>.json, written after every stage, found again by name.

Each is read by itself: one that is damaged, and what else lies there, is named and left out. One of
another version is read as far as this one knows its words (perpo_core/store/lenient.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from perpo_core.configuration.tasks import find_task_problems
from perpo_core.store.lenient import Unreadable, parse_dropping
from perpo_core.store.store import Store
from schemas.run import RECORD_VERSION, RunRecord

LATEST = "latest"
KILLED = "its process died without a word; what it finished stays in the store"
RUNS = "runs"
MAX_ID_LENGTH = 128  # twice what a name may have; a file system takes some 250
OUR_NAME = re.compile(rf"{RUNS}/[a-z0-9][a-z0-9-]*-(\d{{8}}-\d{{6}})(-\d+)?\.json")  # new_run_id
CONFIG = "config."


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
            store.update(_name(record.run_id), _mark_killed)


def _mark_killed(body: bytes | None) -> bytes | None:
    """The record with everything else as it is, also what only its own version knows."""
    if body is None:
        return None
    changed = json.loads(body) | {"status": "killed", "error": KILLED}
    return json.dumps(changed, indent=2, ensure_ascii=False).encode()


def load_record(store: Store, run: str, to_act: bool = False) -> RunRecord:
    """The record of a run id or "latest"; raises ValueError if there is none, or none readable.

    `to_act`: something follows from which run it is, so "latest" may not be an older one because
    the record of the newest cannot be read.
    """
    if run == LATEST:
        return _load_latest(store, to_act)
    body = store.read(_name(run))
    if body is None:
        raise ValueError(f"there is no run {run!r} in {store.place}; `perpo runs` lists them")
    try:
        return parse_record(_name(run), body)
    except Unreadable as damage:
        raise ValueError(
            f"the record of run {run!r} cannot be read, {store.place}/{_name(run)}: {damage}; "
            "name another run (`perpo runs`), or restore the file from a backup"
        ) from damage


def load_records(store: Store) -> list[RunRecord]:
    """All runs that can be read, oldest first; the others are left out."""
    return read_records(store)[0]


def read_records(store: Store) -> tuple[list[RunRecord], list[str]]:
    """All runs, oldest first, and the names of those records of ours that cannot be read."""
    bodies = store.read_folder(RUNS, ".json")
    found: dict[str, RunRecord] = {}
    for name, body in bodies.items():
        if body is None:
            continue
        try:
            found[name] = parse_record(name, body)
        except Unreadable as damage:
            store.leave_out(name, str(damage))
    lost = [name for name in bodies if OUR_NAME.fullmatch(name) and not _is_whole(found.get(name))]
    return sorted(found.values(), key=lambda record: record.order), lost


def _is_whole(record: RunRecord | None) -> bool:
    """Whether it says all that the run made."""
    return record is not None and not any(
        name.startswith("stages.") and name.count(".") == 1 for name in record.unread
    )


def parse_record(name: str, body: bytes) -> RunRecord:
    """The record in a file of that name; raises Unreadable."""
    record, dropped = parse_dropping(RunRecord, body, "run record")
    if f"{RUNS}/{record.run_id}.json" != name:
        raise Unreadable(f"it is the record of run {record.run_id}, under another name")
    if f"{CONFIG}name" in dropped:
        raise Unreadable("it is no run record (config.name is not a name)")
    version = record.schema_version if "schema_version" in record.model_fields_set else 1
    unread = {name.removeprefix(CONFIG): value for name, value in dropped.items()}
    unknown = find_task_problems(record.config)
    unread |= {".".join(problem.location): problem.value for problem in unknown}
    return record.model_copy(update={"schema_version": version, "unread": unread})


def refuse_other_settings(record: RunRecord) -> None:
    """Raise ValueError, one sentence, for a run that would have another meaning here."""
    if record.schema_version > RECORD_VERSION:
        raise ValueError(
            f"run {record.run_id} was recorded by a newer version of perpo; update perpo, or start "
            "a new run with `perpo refresh`"
        )
    if record.unread:
        raise ValueError(
            f"run {record.run_id} was recorded by another version of perpo, whose settings "
            f"{describe_unread(record.unread)} this one does not have; start a new run with `perpo "
            "refresh` and a configuration without them"
        )


def describe_unread(unread: Mapping[str, Any]) -> str:
    """Such as "train.knob = 3, score.shards = null"."""
    return ", ".join(f"{name} = {json.dumps(value)}" for name, value in unread.items())


def _load_latest(store: Store, to_act: bool) -> RunRecord:
    records, lost = read_records(store)
    if not records:
        raise ValueError(
            f"there is no run in {store.place} yet; start one with `perpo refresh`, or name the "
            "right store with --store"
        )
    newer = [name for name in lost if _get_time(name) > f"{records[-1].started_at:%Y%m%d-%H%M%S}"]
    if to_act and newer:
        raise ValueError(
            f"which run is the latest is not known, since {newer[-1]} cannot be read; name the run "
            "itself (`perpo runs`)"
        )
    return records[-1]


def _get_time(name: str) -> str:
    """When the run of a record began, by the record's name; "" for a name of another's."""
    found = OUR_NAME.fullmatch(name)
    return found[1] if found else ""


def _name(run_id: str) -> str:
    if run_id != Path(run_id).name or run_id in ("", ".", "..") or len(run_id) > MAX_ID_LENGTH:
        raise ValueError(f"{json.dumps(run_id)} is not a run id; `perpo runs` lists them")
    return f"{RUNS}/{run_id}.json"
