"""`perpo serve` with toy stages: a real server, worker and process for every run.

`python -m tests.flows.served STORE PORT` serves; `serving(...)` does so from a test, and what it
yields asks the server's API.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.prefect_setup import SERVER_AUTH, set_environment
from flows.server import HOST
from flows.serving import HOME, PREFECT_FILE, ROOT, serve
from tests.flows.api import Api

START_TIMEOUT_S = 150.0
ENTRYPOINTS = ("flows/deployed.py", "flows/stages.py")
TOY = "tests/flows/toy_deployed.py"


class Served(Api):
    """A running `perpo serve`."""

    def __init__(
        self, process: subprocess.Popen[str], store: Path, port: int, auth: str | None
    ) -> None:
        super().__init__(f"http://{HOST}:{port}/api", auth)
        self.process, self.store = process, store
        self.url = f"http://{HOST}:{port}"

    def find_processes(self) -> list[int]:
        """Those that have this store's Prefect home in their environment."""
        return find_processes(self.store)


@contextmanager
def serving(store: Path, pause_s: float = 0.0, auth: str | None = None) -> Iterator[Served]:
    """Serve toy stages from the store until the block ends, behind a password if one is given."""
    port = find_free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    own = {"PERPO_TOY_PAUSE_S": str(pause_s)} | ({SERVER_AUTH: auth} if auth else {})
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.served", str(store), str(port)],
        env={**environment, **own},
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
        yield Served(process, store, port, auth)
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


def write_toy_file(folder: Path) -> Path:
    """infra/prefect.yaml with the flows on toy stages."""
    text = PREFECT_FILE.read_text()
    for entrypoint in ENTRYPOINTS:
        text = text.replace(entrypoint, TOY)
    path = folder / "prefect.yaml"
    path.write_text(text)
    return path


if __name__ == "__main__":
    set_environment(console=False)  # as the command does
    served_store = Path(sys.argv[1])
    served_store.mkdir(parents=True, exist_ok=True)
    serve(
        served_store,
        int(sys.argv[2]),
        say=lambda line: print(line, flush=True),
        prefect_file=write_toy_file(served_store.parent),
    )
