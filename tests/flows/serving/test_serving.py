"""The parts of `perpo serve`: what is deployed, what is refused, what ends with what."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flows.runs.home import HOME, LOCK_FILE, find_served
from flows.serving.prefect_setup import prefect_for
from flows.serving.serve import PREFECT_FILE, ROOT, serve
from flows.serving.server import HOST, build_environment, build_url
from flows.serving.setup import POOL, build_job_template
from flows.serving.supervised import supervised
from perpo_core.store.locks import lock_file
from schemas.base import ALL_STAGES
from tasks.stages import GPU_STAGES
from tests.flows.api import wait_until
from tests.flows.served import find_free_port, find_processes

DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load(PREFECT_FILE.read_text())["deployments"]
IDS = [f"{one['entrypoint'].rpartition(':')[2]}/{one['name']}" for one in DEPLOYMENTS]

ASKS, LIMIT = "promotion/approval", "concurrency_limit"


def find(name: str) -> dict[str, Any]:
    return DEPLOYMENTS[IDS.index(name)]


def test_every_stage_is_deployed() -> None:
    stages = [f"{stage}/stage" for stage in ALL_STAGES]
    assert ["refresh/nightly", "refresh/on-demand", ASKS, *stages] == IDS
    assert all(one["work_pool"]["name"] == POOL and one["tags"] for one in DEPLOYMENTS)
    limited = [name for name, one in zip(IDS, DEPLOYMENTS, strict=True) if LIMIT in one]
    assert limited == [name for name in IDS if name != ASKS], "any number of questions may wait"
    assert all(find(name)[LIMIT]["limit"] == 1 for name in limited)


def test_what_samples_or_trains_waits_for_a_gpu_worker_and_the_rest_does_not() -> None:
    queues = {
        name: one["work_pool"]["work_queue_name"]
        for name, one in zip(IDS, DEPLOYMENTS, strict=True)
    }
    refreshes = {"refresh/nightly": "gpu", "refresh/on-demand": "gpu"}
    stages = {f"{stage}/stage": "gpu" if stage in GPU_STAGES else "cpu" for stage in ALL_STAGES}
    assert queues == refreshes | stages | {ASKS: "cpu"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=IDS)
def test_its_flow_takes_its_parameters_and_describes_every_one(
    deployment: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.flows import load_flow_from_entrypoint
    from prefect.utilities.callables import parameter_schema

    monkeypatch.chdir(ROOT)
    flow: Any = load_flow_from_entrypoint(deployment["entrypoint"])
    schema = parameter_schema(flow)
    asked = dict.fromkeys(schema.required, "a-run")  # what a form insists on
    flow.validate_parameters(asked | deployment["parameters"])
    fields = schema.properties
    assert set(deployment["parameters"]) <= set(fields)
    assert all(field.get("description") for field in fields.values())


CHOSEN: dict[str, Any] = {
    "command": "touch /tmp/mine", "env": {"PATH": "/tmp"}, "env.PYTHONPATH": "/tmp",
    "working_dir": "/tmp", "image": "mine", "name": "mine", "labels": {"a": "b"},
    "stream_output": False,
}  # fmt: skip


def test_no_run_changes_what_its_process_is_started_with() -> None:
    import asyncio

    from prefect.utilities.schema_tools import ValidationError, validate
    from prefect.workers.process import ProcessJobConfiguration

    template = build_job_template(ROOT)
    for name, value in CHOSEN.items():
        with pytest.raises(ValidationError):  # as the server asks it
            validate({name: value}, template["variables"], raise_on_error=True, preprocess=True)

    async def build(values: dict[str, Any]) -> ProcessJobConfiguration:  # as the worker does
        build_async: Any = ProcessJobConfiguration.from_template_and_values
        built: ProcessJobConfiguration = await build_async(template, values, client=object())
        return built

    started = asyncio.run(build({}))
    assert (started.command, started.env, started.working_dir) == (None, {}, ROOT)
    assert asyncio.run(build(CHOSEN)) == started


def test_nightly_comes_every_night_and_never_twice() -> None:
    nightly = find("refresh/nightly")
    (schedule,) = nightly["schedules"]
    assert (schedule["cron"], schedule["timezone"]) == ("0 2 * * *", "UTC")
    assert nightly["concurrency_limit"]["collision_strategy"] == "CANCEL_NEW"
    assert "Missed nights" in nightly["description"]


def test_nightly_goes_on_from_the_promoted_policy_and_else_is_the_default() -> None:
    nightly = tomllib.loads(
        (ROOT / find("refresh/nightly")["parameters"]["config_file"]).read_text()
    )
    default = tomllib.loads((ROOT / "infra/configs/default.toml").read_text())
    assert nightly == default | {"name": "nightly", "policy": {"model": "promoted"}}


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=f"port {port} of {HOST} is not free .*; stop what"):
            serve(tmp_path, port, say=print)
    assert find_processes(tmp_path) == []


def test_a_second_start_is_refused_and_commands_find_the_first(tmp_path: Path) -> None:
    lock = tmp_path / HOME / LOCK_FILE
    assert find_served(tmp_path) is None
    with lock_file(lock, build_url(4321), str):
        assert find_served(tmp_path) == f"http://{HOST}:4321/api"
        with pytest.raises(ValueError, match=f"is served already, at http://{HOST}:4321; use that"):
            serve(tmp_path, find_free_port(), say=print)
    assert find_served(tmp_path) is None


class Greeting(BaseHTTPRequestHandler):
    """Answers whatever is asked with the status its server was given."""

    def do_GET(self) -> None:
        self.send_response(getattr(self.server, "status"))  # noqa: B009  # no attribute mypy knows
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@contextmanager
def greeting(status: int) -> Iterator[int]:
    """The port of a server that answers with a status."""
    with HTTPServer((HOST, 0), Greeting) as server:
        server.status = status  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def served_by(store: Path, port: int) -> Iterator[None]:
    """As while `perpo serve` holds the store."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        lock_file(store / HOME / LOCK_FILE, build_url(port), str),
    ):
        yield


def test_a_command_reports_to_the_server_that_serves_its_store(tmp_path: Path) -> None:
    from prefect.settings import PREFECT_API_URL

    with greeting(200) as port, served_by(tmp_path, port), prefect_for(tmp_path, console=True):
        assert PREFECT_API_URL.value() == f"http://{HOST}:{port}/api"


def test_a_command_says_why_a_server_is_of_no_use(tmp_path: Path) -> None:
    with (
        greeting(401) as port,
        served_by(tmp_path, port),
        pytest.raises(ValueError, match=r"refuses PREFECT_API_AUTH_STRING as it is here \(401\)"),
        prefect_for(tmp_path, console=True),
    ):
        pass
    with (
        served_by(tmp_path, find_free_port()),
        pytest.raises(ValueError, match="no Prefect server answers at"),
        prefect_for(tmp_path, console=True),
    ):
        pass


def test_a_lasting_server_shows_its_ui_and_tells_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere/api")
    monkeypatch.delenv("PREFECT_SERVER_ANALYTICS_ENABLED", raising=False)
    lasting, temporary = (build_environment(tmp_path, 4321, lasts) for lasts in (True, False))
    assert "PREFECT_API_URL" not in lasting
    assert lasting["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert lasting["PREFECT_SERVER_UI_V2_ENABLED"] == "false"
    assert (lasting["PREFECT_UI_ENABLED"], temporary["PREFECT_UI_ENABLED"]) == ("true", "false")


STARTS_ANOTHER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""
KILLED_PARENT = f"""
import os, signal, sys, time
from pathlib import Path
from flows.serving.supervised import supervised
log = Path(sys.argv[1])
with supervised(["-c", '''{STARTS_ANOTHER}'''], log_path=log, env=os.environ):
    while not log.read_text().endswith("\\n"):
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def read_pid(log: Path) -> int:
    wait_until(lambda: log.is_file() and log.read_text().endswith("\n"), 30)
    return int(log.read_text().split()[0])


def test_what_is_supervised_ends_with_its_block(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with supervised(["-c", STARTS_ANOTHER], log_path=log, env=os.environ):
        grandchild = read_pid(log)
        assert psutil.pid_exists(grandchild)
    assert not psutil.pid_exists(grandchild)


def test_what_is_supervised_ends_with_a_killed_parent(tmp_path: Path) -> None:
    log = tmp_path / "log"
    done = subprocess.run([sys.executable, "-c", KILLED_PARENT, str(log)], cwd=ROOT, check=False)
    assert done.returncode == -9
    grandchild = read_pid(log)
    wait_until(lambda: not psutil.pid_exists(grandchild), 20)
