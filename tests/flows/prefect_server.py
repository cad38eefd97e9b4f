"""A Prefect server as `prefect server start` runs it, in a process group of its own.

It ends with its block or with this process.
"""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from flows.serving.supervised import supervised
from tests.flows.whole import build_env

START_TIMEOUT_S = 120
LOG_FILE = "server.log"


class Server:
    """Started by `ensure`, and again when it is gone; its home and log lie in a new folder.

    `own` are further settings, e.g. PREFECT_SERVER_DATABASE_CONNECTION_URL.
    """

    def __init__(self, home: Path, **own: str) -> None:
        home.mkdir()
        self._home, self._own = home, own
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._process: subprocess.Popen[bytes] | None = None
        self._running = ExitStack()

    @property
    def pid(self) -> int:
        """The leader of its group."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self._home / LOG_FILE).read_text(errors="replace")

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exception: object) -> None:
        self._running.close()

    def ensure(self) -> None:
        """Running, and answering."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            assert time.monotonic() < deadline_s, self.log[-3000:]
            time.sleep(0.2)

    def _start(self) -> None:
        own = {"PREFECT_HOME": str(self._home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        command = ["-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port",
                   str(self._port), "--no-ui"]  # fmt: skip
        self._running.close()
        self._process = self._running.enter_context(
            supervised(command, log_path=self._home / LOG_FILE,
                       env=build_env(**(own | self._own)))
        )  # fmt: skip

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
