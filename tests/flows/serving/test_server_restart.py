"""A Prefect server that is killed and started again in the midst of a run: the run goes on."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from pathlib import Path

import pytest

from tests.flows.chaos import run_marked
from tests.flows.prefect_server import Server
from tests.flows.whole import list_digests, load_latest, load_report, write_config

AWAY_S = 5.0
TIMEOUT_S = 600


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_outlives_a_restart_of_the_server(small_run: Path, tmp_path: Path) -> None:
    config, store = write_config(tmp_path)
    log = tmp_path / "refresh.log"
    with Server(tmp_path / "server") as server:
        server.ensure()
        with run_marked("restart", server, config, log) as process:
            while not list(store.glob("candidates/*/part-*.json")):
                assert process.poll() is None, log.read_text()
                time.sleep(0.1)
            os.killpg(server.pid, signal.SIGKILL)
            time.sleep(AWAY_S)
            server.ensure()
            assert process.wait(TIMEOUT_S) == 0, log.read_text()[-3000:]
        record = load_latest(store)
        assert record is not None and record.status == "completed"
        with urllib.request.urlopen(f"{server.url}/flow_runs/{record.flow_run_id}") as answer:
            assert b'"state_type":"COMPLETED"' in answer.read()
    assert list_digests(load_report(store)) == list_digests(load_report(small_run))
