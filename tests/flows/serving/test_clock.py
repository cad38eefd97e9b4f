"""A clock that is set back or forward between runs: their order and their seconds stay true."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flows.runs.records import load_record, load_records
from perpo_core.store.store import Store
from tests.flows.toy import build_command, write_policy
from tests.flows.whole import build_bare_env

LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not LIBRARY.is_file(), reason="libfaketime is not installed"),
]


def refresh_at(shift: str, folder: Path, *options: str) -> None:
    """`perpo refresh` on toy stages with the wall clock moved, for it and its server."""
    done = subprocess.run(
        [*build_command(folder / "store", folder / "policy"), *options],
        env=build_bare_env(LD_PRELOAD=str(LIBRARY), FAKETIME=shift),
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_runs_keep_their_order_when_the_clock_is_set(tmp_path: Path) -> None:
    write_policy(tmp_path / "policy")
    refresh_at("+40d", tmp_path)
    refresh_at("-40d", tmp_path, "--set", "train.beta=0.7")
    refresh_at("+0d", tmp_path)
    store = Store(tmp_path / "store")
    records = load_records(store)
    assert [record.config.train.beta == 0.7 for record in records] == [False, True, False]
    assert len({record.run_id for record in records}) == 3
    now = datetime.now(UTC)
    shifts = [round((record.started_at - now).total_seconds() / 86_400) for record in records]
    assert shifts == [40, -40, 0]
    assert load_record(store, "latest") == records[-1]
    assert all(entry.reused for entry in records[-1].stages.values()), "still valid, and found"
    assert all(record.ended_at and record.ended_at > record.started_at for record in records)
