"""A server behind a password: all of `perpo serve` works, others are refused, no trace is left."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

from flows.serving.password import CLIENT_AUTH, SERVER_AUTH
from flows.serving.prefect_setup import set_environment
from flows.serving.serve import ROOT
from tests.flows.api import Api, wait_until
from tests.flows.served import Served, serving
from tests.flows.whole import build_bare_env, load_latest

CONFIG = "infra/configs/default.toml"


def refresh(store: Path, **own: str) -> subprocess.CompletedProcess[str]:
    """`perpo refresh` on toy stages, in an environment of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.flows.toy", "refresh", CONFIG, "--set", f"store={store}",
         "--set", "name=by-hand"],
        env=build_bare_env(**own), cwd=ROOT, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def is_refused(api: Api) -> bool:
    with pytest.raises(httpx.HTTPStatusError) as refused:
        api.call("GET", "deployments/name/refresh/nightly")
    return bool(refused.value.response.status_code == httpx.codes.UNAUTHORIZED)


def count_heartbeats(served: Served, run: str) -> int:
    """Signs of life that came through, for the watch over dead runs to see."""
    wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]},
              "resource": {"id": [f"prefect.flow-run.{run}"]}}  # fmt: skip
    found = served.call("POST", "events/filter", {"filter": wanted})
    return int(found["total"])


def find_traces(folder: Path, auth: str) -> list[Path]:
    """Files that hold the password or what is sent in its place."""
    sent = base64.b64encode(auth.encode())
    wanted = (auth.partition(":")[2].encode(), sent)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(trace in path.read_bytes() for trace in wanted)]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_served_store_behind_a_password(tmp_path: Path) -> None:
    store, auth = tmp_path / "store", f"perpo:{secrets.token_hex(16)}"
    with serving(store, auth=auth) as served:
        assert is_refused(Api(served.address))
        assert is_refused(Api(served.address, "perpo:wrong"))
        assert Api(served.address).call("GET", "health") is True, "probes need no password"

        run = served.start("refresh/on-demand")
        served.wait_for(run, "Completed", 180)
        wait_until(lambda: count_heartbeats(served, run) > 0, 30)

        refused = refresh(store)
        assert refused.returncode == 2, refused.stdout
        (sentence,) = refused.stdout.strip().splitlines()
        assert CLIENT_AUTH in sentence and SERVER_AUTH in sentence and "(401)" in sentence
        told = refresh(store, **{CLIENT_AUTH: auth})
        assert told.returncode == 0, told.stdout
        record = load_latest(store, "by-hand")
        assert record is not None and record.flow_run_id is not None
        assert served.read_run(record.flow_run_id)["state_name"] == "Completed"

        command_lines = [psutil.Process(pid).cmdline() for pid in served.find_processes()]
        assert command_lines
        served.process.terminate()
        said, _ = served.process.communicate(timeout=60)
    password = auth.partition(":")[2]
    assert password not in f"{said}{told.stdout}{refused.stdout}{command_lines}"
    assert find_traces(tmp_path, auth) == []


@pytest.mark.slow
def test_a_command_whose_own_server_has_a_password_sends_it(tmp_path: Path) -> None:
    told = refresh(tmp_path / "store", **{SERVER_AUTH: f"perpo:{secrets.token_hex(16)}"})
    assert told.returncode == 0, told.stdout


def test_whoever_starts_a_server_with_a_password_also_sends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (CLIENT_AUTH, SERVER_AUTH, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"):
        monkeypatch.setenv(name, "")  # so that all are as before when the test ends
        monkeypatch.delenv(name)
    set_environment(console=True)
    assert CLIENT_AUTH not in os.environ
    monkeypatch.setenv(SERVER_AUTH, "perpo:one")
    set_environment(console=True)
    assert os.environ[CLIENT_AUTH] == "perpo:one"
    monkeypatch.setenv(SERVER_AUTH, "perpo:two")
    set_environment(console=True)
    assert os.environ[CLIENT_AUTH] == "perpo:one", "what the user has set stays"
