"""Prefect's server on a real PostgreSQL: whole refreshes, restarts of the database, two workers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.serving.serve import ROOT
from schemas.base import STAGES
from tests.flows.api import Api, wait_until
from tests.flows.many import running_server
from tests.flows.postgres import Postgres, running_postgres
from tests.flows.prefect_server import Server
from tests.flows.toy import PAUSED
from tests.flows.two_workers import run_rounds
from tests.flows.whole import build_env, load_latest, run_perpo, write_config

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(900)]
CONFIG = "infra/configs/default.toml"
OUTAGE_S = 15.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as running:
        yield running


@pytest.fixture(scope="module")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("prefect") / "server", postgres) as running:
        yield running


def test_a_whole_refresh_is_recorded_in_postgres(
    postgres: Postgres, server: Server, tmp_path: Path
) -> None:
    config, store = write_config(tmp_path)
    run_perpo("refresh", config, env={"PREFECT_API_URL": server.url})
    record = load_latest(store)
    assert record is not None and record.status == "completed"
    run = record.flow_run_id
    assert Api(server.url).read_run(str(run))["state_name"] == "Completed"
    assert postgres.query(f"select state_type from flow_run where id = '{run}'") == "COMPLETED"
    ended = postgres.query(f"select name from task_run where flow_run_id = '{run}'")
    assert len(ended.splitlines()) >= len(STAGES)
    wait_until(
        lambda: postgres.query(f"select count(*) from log where flow_run_id = '{run}'") > "0"
    )


def start_toy(server: Server, store: Path, **own: str) -> subprocess.Popen[str]:
    """`perpo refresh` on toy stages, reporting to the server."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.flows.toy", "refresh", CONFIG, "--set", f"store={store}"],
        env=build_env(PREFECT_API_URL=server.url, **own), cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.parametrize("outage_s", [0.0, OUTAGE_S], ids=["restart", "outage"])
def test_a_run_goes_on_when_the_database_comes_back(
    outage_s: float, postgres: Postgres, server: Server, tmp_path: Path
) -> None:
    store, wish = tmp_path / "store", tmp_path / "break-train"
    wish.write_text("pause")
    process = start_toy(server, store)
    wait_until(lambda: wish.read_text() == PAUSED, 120)
    postgres.stop()
    wish.unlink()  # training ends, and its state cannot be written
    time.sleep(outage_s)
    postgres.start()
    said, _ = process.communicate(timeout=300)
    record = load_latest(store)
    assert record is not None
    assert (process.returncode, record.status) == (0, "completed"), said[-3000:]
    run = record.flow_run_id
    assert Api(server.url).read_run(str(run))["state_name"] == "Completed"
    unfinished = (
        f"select name from task_run where flow_run_id = '{run}' and not state_type = 'COMPLETED'"
    )
    wait_until(lambda: postgres.query(unfinished) == "", 60)


def test_a_run_that_lost_its_database_is_gone_on_with(
    postgres: Postgres, server: Server, tmp_path: Path
) -> None:
    store, wish = tmp_path / "store", tmp_path / "break-train"
    wish.write_text("pause")
    process = start_toy(server, store, PREFECT_CLIENT_MAX_RETRIES="0")
    wait_until(lambda: wish.read_text() == PAUSED, 120)
    postgres.stop()
    wish.unlink()
    said, _ = process.communicate(timeout=300)
    postgres.start()
    lost = load_latest(store)
    assert lost is not None
    assert process.returncode != 0 and lost.status == "failed", said[-3000:]
    assert Api(server.url).read_run(str(lost.flow_run_id))["state_name"] != "Completed"
    process = start_toy(server, store)
    said, _ = process.communicate(timeout=300)
    record = load_latest(store)
    assert record is not None
    assert (process.returncode, record.status) == (0, "completed"), said[-3000:]
    assert all(record.stages[stage].reused for stage in lost.stages)


def test_two_workers_run_two_configurations_at_once(tmp_path: Path) -> None:
    tally = run_rounds(tmp_path, times=1)
    assert tally["failed"] == 0, tally
