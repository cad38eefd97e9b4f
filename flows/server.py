"""A Prefect server for the time of one command, where the user runs none.

Prefect would start one by itself; this one differs in three ways. It starts while the command is
still importing, and the command does not import the server's code (seconds each on a small
machine). It runs under perpo_core.supervisor, so that it ends with the command even after kill -9.
And it is out of reach of Ctrl-C, so that the interrupted run is still recorded as such.

`python -m flows.server DESCRIPTOR` is the server itself, on an already listening socket.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perpo_core.supervisor import GRACE_S

START_TIMEOUT_S = 120.0  # seconds on an idle machine; a busy one may take many times that
POLL_S = 0.1
LOG_FILE = "server.log"


class Server:
    """A starting or running server: `url` is known at once, `wait` returns when it answers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
        self.process, self.log_path = process, log_path
        self.url = f"http://127.0.0.1:{port}/api"

    def wait(self) -> None:
        """Until the server answers; raises RuntimeError if it ended or takes too long."""
        import httpx

        deadline_s = time.monotonic() + START_TIMEOUT_S
        with httpx.Client(trust_env=False) as client:  # a proxy has no way to 127.0.0.1
            while self.process.poll() is None and time.monotonic() < deadline_s:
                try:
                    client.get(f"{self.url}/health", timeout=POLL_S).raise_for_status()
                    return
                except httpx.HTTPError:
                    time.sleep(POLL_S)
        raise RuntimeError(f"Prefect's server did not start; its log is {self.log_path}")


@contextmanager
def start_server(home: Path) -> Iterator[Server]:
    """Start a server with its database in `home`; it ends with the block or with this process."""
    home.mkdir(parents=True, exist_ok=True)
    supervisor = [sys.executable, "-m", "perpo_core.supervisor"]
    with socket.create_server(("127.0.0.1", 0)) as listener, (home / LOG_FILE).open("wb") as log:
        process = subprocess.Popen(
            [*supervisor, sys.executable, "-m", "flows.server", str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            env=build_environment(home),
        )
        port = listener.getsockname()[1]
    assert process.stdin is not None
    try:
        yield Server(process, port, home / LOG_FILE)
    finally:
        process.stdin.close()
        process.wait(GRACE_S + 10)


def build_environment(home: Path) -> dict[str, str]:
    """The server's: its own home, no UI to serve, no address of another server."""
    own = {"PREFECT_HOME": str(home), "PREFECT_UI_ENABLED": "false"}
    inherited = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return {**inherited, **own, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def main() -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    # ephemeral: without the scheduler and its like, which have nothing to do in a server this
    # short-lived; final: nobody adds routes.
    app = create_app(ephemeral=True, final=True)
    uvicorn.run(app, fd=int(sys.argv[1]), log_level="error")


if __name__ == "__main__":
    main()
