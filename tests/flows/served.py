"""`perpo serve` with toy or small real stages: a real server, worker and process for every run.

`python -m tests.flows.served STORE PORT [small]` serves; `serving(...)` does so from a test, and
what it yields asks the server's API.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from flows.server import HOST
from flows.serving import HOME, PREFECT_FILE, ROOT, serve
from tests.flows.whole import CONFIG

START_TIMEOUT_S = 150.0
ENTRYPOINTS = ("flows/deployed.py", "flows/stages.py")
ENDS = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
SMALL = "small"
TRIES = 20
TOY = "tests/flows/toy_deployed.py"


@dataclass
class Served:
    """A running `perpo serve`."""

    process: subprocess.Popen[str]
    store: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        with httpx.Client(trust_env=False, timeout=30) as client:
            for _ in range(TRIES):  # a busy SQLite is "unavailable", and Prefect's own clients wait
                answer = client.request(method, f"{self.url}/api/{path}", json=body)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    break
                time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def find_deployment(self, name: str) -> dict[str, Any]:
        """By "flow/deployment"."""
        found: dict[str, Any] = self.call("GET", f"deployments/name/{name}")
        return found

    def start(self, name: str, **parameters: Any) -> str:
        """Start a run of a deployment; its id."""
        deployment = self.find_deployment(name)["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(self.call("POST", f"deployments/{deployment}/create_flow_run", body)["id"])

    def read_run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"flow_runs/{run}")
        return found

    def wait_for(self, run: str, state: str, timeout_s: float = 150.0) -> dict[str, Any]:
        """The run once it is in the state of that name; fails where it ended in another."""

        def has_arrived() -> bool:
            found = self.read_run(run)["state"]
            ended = found["type"] in ENDS - {state.upper()}
            assert found["name"] == state or not ended, f"{found['name']}: {found['message']}"
            return bool(found["name"] == state)

        wait_until(has_arrived, timeout_s)
        return self.read_run(run)

    def find_processes(self) -> list[int]:
        """Those that have this store's Prefect home in their environment."""
        return find_processes(self.store)


@contextmanager
def serving(store: Path, pause_s: float = 0.0, small: bool = False) -> Iterator[Served]:
    """Serve toy stages from the store until the block ends; `small`: the real ones on few data."""
    port = find_free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.served", str(store), str(port), *[SMALL] * small],
        env={**environment, "PERPO_TOY_PAUSE_S": str(pause_s)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "Prefect's UI" in line:
                break
        assert "Prefect's UI" in said, said
        yield Served(process, store, port)
    finally:
        process.terminate()
        process.wait(30)


def find_free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def find_processes(store: Path) -> list[int]:
    mark = f"PREFECT_HOME={store / HOME}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it ended, or is not ours to read
            continue
    return found


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.2)


def wait_for_question(served: Served) -> str:
    """The id of the newest run that waits for a person."""
    deployment = served.find_deployment("promotion/approval")["id"]
    body = {"deployments": {"id": {"any_": [deployment]}}, "sort": "START_TIME_DESC"}

    def find() -> list[str]:
        found = served.call("POST", "flow_runs/filter", body)
        return [run["id"] for run in found if run["state_name"] == "Suspended"]

    wait_until(find, 150)
    return find()[0]


def write_toy_file(folder: Path) -> Path:
    """infra/prefect.yaml with the flows on toy stages."""
    text = PREFECT_FILE.read_text()
    for entrypoint in ENTRYPOINTS:
        text = text.replace(entrypoint, TOY)
    path = folder / "prefect.yaml"
    path.write_text(text)
    return path


def write_small_file(folder: Path) -> Path:
    """infra/prefect.yaml with the configurations' sources and training cut down to a minute."""
    text = PREFECT_FILE.read_text()
    for name, policy in (("default", "builtin"), ("nightly", "promoted")):
        config = folder / f"{name}.toml"
        small = CONFIG.format(store=folder / "store", policy=policy)
        config.write_text(small.replace('name = "small"', f'name = "{name}"'))
        text = text.replace(f"infra/configs/{name}.toml", str(config))
    path = folder / "prefect.yaml"
    path.write_text(text)
    return path


if __name__ == "__main__":
    served_store = Path(sys.argv[1])
    served_store.mkdir(parents=True, exist_ok=True)
    write_file = write_small_file if SMALL in sys.argv else write_toy_file
    serve(
        served_store,
        int(sys.argv[2]),
        say=lambda line: print(line, flush=True),
        prefect_file=write_file(served_store.parent),
    )
