"""A whole small refresh on a store in a bucket: real vLLM, real training, three machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.runs.records import load_record
from schemas.base import STAGES
from tests.flows.whole import (
    CONFIG,
    NUM_TRAIN_SHARDS,
    POLICY,
    kill_when,
    list_digests,
    list_executed,
    load_report,
    run_perpo,
)
from tests.s3 import Machines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
FREE_LEASE = b'{"holder": null, "owner": "", "beat": 0, "machine": ""}'


def load_remote_report(machines: Machines, name: str) -> dict[str, Any]:
    store = machines.open(name)
    body = store.read(f"reports/{load_record(store, 'latest').run_id}/report.json")
    assert body is not None
    report: dict[str, Any] = json.loads(body)
    return report


def test_a_refresh_killed_on_one_machine_is_finished_on_another_and_reused_on_a_third(
    machines: Machines, tmp_path: Path, small_run: Path
) -> None:
    config = tmp_path / "small.toml"
    config.write_text(CONFIG.format(store=machines.address, policy=POLICY))

    def count_parts() -> int:
        names = machines.remote.list_objects("candidates/")
        return sum(name.endswith(".parquet.json") for name in names)

    machines.open("first")
    log = kill_when(lambda: count_parts() >= 1, tmp_path / "log", "refresh", config)
    parts = count_parts()
    assert 1 <= parts < NUM_TRAIN_SHARDS, log

    # A killed holder's lease expires a minute after its last sign of life.
    machines.open("second")
    with pytest.raises(AssertionError) as refused:
        run_perpo("refresh", config)
    assert "a run of 'small' is going on in s3://" in str(refused.value)
    machines.remote.write("runs/small.lease", FREE_LEASE)
    said = run_perpo("refresh", config)
    assert f"{parts} of {NUM_TRAIN_SHARDS} shards are there already" in said
    report = load_remote_report(machines, "second")
    assert list_executed(report) == [stage for stage in STAGES if stage != "collect"]
    assert list_digests(report) == list_digests(load_report(small_run))

    machines.open("third")
    said = run_perpo("refresh", config)
    report = load_remote_report(machines, "third")
    assert list_executed(report) == []
    assert list_digests(report) == list_digests(load_report(small_run))
    page = Path(said.splitlines()[-1])
    assert page.is_relative_to(tmp_path / "machines" / "third")
    assert page.is_file()
    assert "7 of 7 stages would be reused" in run_perpo("plan", config)

    names = set(machines.remote.list_objects())
    assert "reports/trends.html" in names
    assert any(name.endswith("/train.log") for name in names)
    assert any(name.startswith("tensorboard/") for name in names)
    for name in names:
        body = machines.remote.read(name)
        assert body is not None
        assert b"a-secret-that-nothing-may-show" not in body.content
