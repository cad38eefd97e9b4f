"""A server on Postgres with several workers, as docs/deploy.md sets one up: for tests.

Real PostgreSQL, and the commands and settings of infra/compose.yaml for server, deployments and
workers, all on this machine and over loopback.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from flows.serving.password import CLIENT_AUTH, SERVER_AUTH
from flows.serving.serve import PREFECT_FILE, ROOT
from flows.serving.supervised import supervised
from tests.flows.api import Api, wait_until
from tests.flows.postgres import Postgres, running_postgres
from tests.flows.prefect_server import Server
from tests.flows.whole import build_env, run_perpo

COMPOSE = ROOT / "infra" / "compose.yaml"
CONNECTION = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
PLACE = re.compile("^AWS_|_URL$|_HOME$|_DIRECTORY$|_STORE$|AUTH_STRING$")
RUN_ID, WORKER = "PREFECT__FLOW_RUN_ID", "PREFECT__WORKER_NAME"  # Prefect's, in a run's processes
GPU_CHILDREN = ("perpo_core.stages.generate.child", "perpo_core.stages.train.child")
START_TIMEOUT_S = 120.0


@dataclass
class Many:
    """What runs, and where it says what it does."""

    postgres: Postgres
    server: Server
    api: Api
    workers: Sequence[str]
    folder: Path

    @property
    def logs(self) -> dict[str, str]:
        """Name -> what it has said so far."""
        paths = {name: self.folder / f"{name}.log" for name in self.workers}
        said = {name: path.read_text(errors="replace") for name, path in paths.items()}
        return {"server": self.server.log, **said}


@contextmanager
def running_many(folder: Path, workers: Sequence[str]) -> Iterator[Many]:
    """Postgres, server, deployments and workers of one run each, until the block ends.

    The server has a password, as in the compose file.
    """
    env = read_environment("worker-gpu")
    auth = f"perpo:{secrets.token_hex(16)}"
    env |= {"PREFECT_HOME": str(folder / "client"), "PERPO_STORE": str(folder / "store"),
            CLIENT_AUTH: auth}  # fmt: skip
    with (
        running_postgres() as postgres,
        running_server(folder / "server", postgres, **{SERVER_AUTH: auth}) as server,
        ExitStack() as stack,
    ):
        env["PREFECT_API_URL"] = server.url
        run_perpo("deploy", "--prefect-file", write_unscheduled(folder), env=env)
        many = Many(postgres, server, Api(server.url, auth), workers, folder)
        for name in workers:
            stack.enter_context(running_worker(name, folder, env))
        wait_until(lambda: all("started!" in many.logs[name] for name in workers), START_TIMEOUT_S)
        yield many


@contextmanager
def running_server(home: Path, postgres: Postgres, **own: str) -> Iterator[Server]:
    """`prefect server start` with its database in Postgres."""
    own = read_environment("server") | {CONNECTION: postgres.url} | own
    with Server(home, **own) as server:
        server.ensure()
        yield server


@contextmanager
def running_worker(name: str, folder: Path, env: dict[str, str]) -> Iterator[None]:
    """A worker of the gpu queue that takes one run at a time; it ends with all it started."""
    command = ["-m", *read_service("worker-gpu")["command"], "--name", name]
    log_path = folder / f"{name}.log"
    with supervised(command, log_path=log_path, env=build_env(**env), cwd=ROOT):
        yield


def read_service(name: str) -> dict[str, Any]:
    """A service of the compose file."""
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    found: dict[str, Any] = services[name]
    return found


def read_environment(name: str) -> dict[str, str]:
    """Its settings, those aside that say where things are, or a secret."""
    environment: dict[str, str] = read_service(name)["environment"]
    return {key: value for key, value in environment.items() if not PLACE.search(key)}


def write_unscheduled(folder: Path) -> Path:
    """infra/prefect.yaml with its schedule off: no test shall start a night's run at 02:00."""
    text = PREFECT_FILE.read_text()
    assert text.count("active: true") == 1
    path = folder / "prefect.yaml"
    path.write_text(text.replace("active: true", "active: false"))
    return path


@dataclass(frozen=True)
class RunProcess:
    """A process of a flow run."""

    run: str
    worker: str
    uses_gpu: bool


def find_run_processes(runs: Sequence[str]) -> list[RunProcess]:
    """The living processes of some flow runs, by what Prefect puts into their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            env = process.environ()
            if env.get(RUN_ID) in runs and process.status() != psutil.STATUS_ZOMBIE:
                command = process.cmdline()
                is_child = any(name in command for name in GPU_CHILDREN)
                found.append(RunProcess(env[RUN_ID], env.get(WORKER, ""), is_child))
        except psutil.Error:  # it ended in between, or is none of ours
            continue
    return found
