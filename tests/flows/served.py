"""`perpo serve` with toy or small real stages: a real server, worker and process for every run.

`python -m tests.flows.served STORE PORT [small]` serves; `serving(...)` does so from a test, and
what it yields asks the server's API.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil

from flows.runs.home import HOME, load_auth
from flows.serving import alerts, watches
from flows.serving.alerts import LATE_S
from flows.serving.password import CLIENT_AUTH, SERVER_AUTH
from flows.serving.prefect_setup import set_environment
from flows.serving.serve import PREFECT_FILE, ROOT, serve
from flows.serving.server import HOST
from flows.serving.watches import START_S
from tasks.slots import GPU_SLOT
from tests.flows.api import Api, wait_until
from tests.flows.toy_child import CHILD
from tests.flows.whole import CONFIG, build_bare_env

ENTRYPOINTS = ("flows/recipes/deployed.py", "flows/recipes/stages.py")
SMALL = "small"
TOY = "tests/flows/toy_deployed.py"


class Served(Api):
    """A running `perpo serve`."""

    def __init__(
        self, process: subprocess.Popen[str], store: Path, port: int, auth: str | None
    ) -> None:
        super().__init__(f"http://{HOST}:{port}/api", auth)
        self.process, self.store = process, store
        self.url = f"http://{HOST}:{port}"

    def start_at(self, name: str, due: datetime) -> str:
        """Schedule a run of a deployment; its id."""
        deployment = self.find_deployment(name)["id"]
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
        body = {"state": state}
        return str(self.call("POST", f"deployments/{deployment}/create_flow_run", body)["id"])

    def prefect(self, *arguments: str) -> str:
        """What Prefect's own command prints about this server."""
        done = subprocess.run(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            env={**os.environ, "PREFECT_API_URL": f"{self.url}/api", CLIENT_AUTH: self.auth or ""},
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
def serving(
    store: Path,
    pause_s: float = 0.0,
    auth: str | None = None,
    late_s: float = LATE_S,
    start_s: float = START_S,
    small: bool = False,
) -> Iterator[Served]:
    """Serve toy stages from the store until the block ends; `small`: the real ones on few data.

    Behind the password that is given, or the store's own.
    """
    port = find_free_port()
    own = {"PERPO_TOY_PAUSE_S": str(pause_s)} | ({SERVER_AUTH: auth} if auth else {})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.served", str(store), str(port), *[SMALL] * small],
        env=build_bare_env(PERPO_TOY_LATE_S=str(late_s), PERPO_TOY_START_S=str(start_s), **own),
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
        yield Served(process, store, port, auth or load_auth(store / HOME))
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
    set_environment(console=False)  # as the command does
    served_store = Path(sys.argv[1])
    served_store.mkdir(parents=True, exist_ok=True)
    alerts.LATE_S = float(os.environ["PERPO_TOY_LATE_S"])
    watches.START_S = float(os.environ["PERPO_TOY_START_S"])
    write_file = write_small_file if SMALL in sys.argv else write_toy_file
    serve(
        served_store,
        int(sys.argv[2]),
        say=lambda line: print(line, flush=True),
        prefect_file=write_file(served_store.parent),
    )
