"""`perpo serve` with toy stages: a real server, worker and process for every run.

`python -m tests.flows.served STORE PORT` serves; `serving(...)` does so from a test, and what it
yields asks the server's API.
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
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

from flows import alerts
from flows.alerts import LATE_S
from flows.server import HOST
from flows.serving import HOME, PREFECT_FILE, ROOT, serve
from tasks.slots import GPU_SLOT
from tests.flows.toy_child import CHILD

BUSY, BUSY_S = 503, 60.0  # SQLite is locked: Prefect's own client asks again, too
ENTRYPOINTS = ("flows/deployed.py", "flows/stages.py")
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
        deadline_s = time.monotonic() + BUSY_S
        with httpx.Client(trust_env=False, timeout=30) as client:
            while True:
                answer = client.request(method, f"{self.url}/api/{path}", json=body)
                if answer.status_code != BUSY or time.monotonic() > deadline_s:
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

    def start_at(self, name: str, due: datetime) -> str:
        """Schedule a run of a deployment; its id."""
        deployment = self.find_deployment(name)["id"]
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        body = {"state": state}
        return str(self.call("POST", f"deployments/{deployment}/create_flow_run", body)["id"])

    def read_run(self, run: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"flow_runs/{run}")
        return found

    def wait_for(self, run: str, state: str, timeout_s: float = 90.0) -> dict[str, Any]:
        """The run once it is in the state of that name."""
        wait_until(lambda: self.read_run(run)["state_name"] == state, timeout_s)
        return self.read_run(run)

    def prefect(self, *arguments: str) -> str:
        """What Prefect's own command prints about this server."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            env={**os.environ, "PREFECT_API_URL": f"{self.url}/api"},
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def change_state(self, run: str, kind: str, name: str) -> None:
        """Ask for a state as the buttons of the UI do, e.g. "CANCELLING" and "Cancelling"."""
        body = {"state": {"type": kind, "name": name}}
        answer = self.call("POST", f"flow_runs/{run}/set_state", body)
        assert answer["status"] == "ACCEPT", answer

    def count_taken(self) -> int:
        """How many runs hold the GPU slot."""
        return int(self.call("GET", f"v2/concurrency_limits/{GPU_SLOT}")["active_slots"])

    def find_children(self) -> list[int]:
        """The toy stages' child processes and what these have started, supervisors included."""
        return [pid for pid in self.find_processes() if CHILD in read_command(pid)]

    def find_processes(self) -> list[int]:
        """Those that have this store's Prefect home in their environment."""
        return find_processes(self.store)


@contextmanager
def serving(store: Path, pause_s: float = 0.0, late_s: float = LATE_S) -> Iterator[Served]:
    """Serve toy stages from the store until the block ends."""
    port = find_free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.served", str(store), str(port)],
        env={**environment, "PERPO_TOY_PAUSE_S": str(pause_s), "PERPO_TOY_LATE_S": str(late_s)},
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


def read_command(pid: int) -> list[str]:
    """The words of a process's command; none when it has ended."""
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []


def wait_until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        time.sleep(0.2)


def write_toy_file(folder: Path) -> Path:
    """infra/prefect.yaml with the flows on toy stages."""
    text = PREFECT_FILE.read_text()
    for entrypoint in ENTRYPOINTS:
        text = text.replace(entrypoint, TOY)
    path = folder / "prefect.yaml"
    path.write_text(text)
    return path


if __name__ == "__main__":
    served_store = Path(sys.argv[1])
    served_store.mkdir(parents=True, exist_ok=True)
    alerts.LATE_S = float(os.environ["PERPO_TOY_LATE_S"])
    serve(
        served_store,
        int(sys.argv[2]),
        say=lambda line: print(line, flush=True),
        prefect_file=write_toy_file(served_store.parent),
    )
