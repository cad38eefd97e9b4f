"""Prefect's server as this package runs it: for the time of one command, or of `perpo serve`.

Prefect would start one by itself; this one differs in three ways. It starts while the command is
still importing, and the command does not import the server's code (seconds each on a small
machine). It runs under perpo_core.process.supervisor, so that it ends with the command even after
kill -9. And it is out of reach of Ctrl-C, so that the interrupted run is still recorded as such.

`python -m flows.serving.server DESCRIPTOR [lasting]` is the server itself, on an already listening
socket.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from flows.runs.home import find_public_url, find_reports_key, find_tune_key, find_view_key
from flows.runs.links import TUNE_PATH, VIEW_PATH
from flows.serving.alerts import hide_addresses
from flows.serving.password import SERVER_AUTH
from flows.serving.private import UMASK, make_private
from flows.serving.supervised import build_python_path, supervised
from perpo_core.process.environment import DEFAULTS
from perpo_core.store.place import Place, describe_place

START_TIMEOUT_S = 120.0  # seconds on an idle machine; a busy one may take many times that
POLL_S = 0.1
LOG_FILE = "server.log"
HOST = "127.0.0.1"
LASTING = "lasting"
STORE = "PERPO_SERVED_STORE"
ORIGINS = "PREFECT_SERVER_CORS_ALLOWED_ORIGINS"


class ServerEnded(RuntimeError):
    """Prefect's server or its worker ended by itself; the message names its log."""


class Server:
    """A starting or running server: `url` is known at once, `wait` returns when it answers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
        self.process, self.log_path = process, log_path
        self.url = build_url(port)

    def wait(self) -> None:
        """Until the server answers; raises ServerEnded if it did, or takes too long."""
        import httpx

        deadline_s = time.monotonic() + START_TIMEOUT_S
        with httpx.Client(trust_env=False) as client:  # a proxy has no way to 127.0.0.1
            while self.process.poll() is None and time.monotonic() < deadline_s:
                try:
                    client.get(f"{self.url}/health", timeout=POLL_S).raise_for_status()
                    return
                except httpx.HTTPError:
                    time.sleep(POLL_S)
        raise ServerEnded(f"Prefect's server did not start; its log is {self.log_path}")


def build_url(port: int) -> str:
    """The address of a server's API."""
    return f"{build_origin(port)}/api"


@contextmanager
def start_server(
    home: Path,
    port: int = 0,
    lasting: bool = False,
    auth: str | None = None,
    store: Place | None = None,
) -> Iterator[Server]:
    """Start a server with its database in `home`; it ends with the block or with this process.

    Port 0 is any free one. A lasting server also schedules, watches and shows its UI, and the rows
    of `store` (by default the folder that `home` lies in). `auth` is the "user:password" that it
    asks for. Raises ValueError, one sentence, if the port is taken.
    """
    make_private(home)
    with listen(port) as listener:
        bound: int = listener.getsockname()[1]
        command = ["-m", "flows.serving.server", str(listener.fileno()), *([LASTING] * lasting)]
        with supervised(
            command,
            log_path=home / LOG_FILE,
            env=build_environment(home, bound, lasting, auth)
            | {STORE: describe_place(store or home.parent)},
            pass_fds=[listener.fileno()],
            umask=UMASK,
        ) as process:
            listener.close()  # the server's copy alone keeps the port, and frees it at its end
            yield Server(process, bound, home / LOG_FILE)


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine only; raises ValueError if the port is taken."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise ValueError(
            f"port {port} of {HOST} is not free ({os.strerror(error.errno)}); stop what listens "
            "there, or choose another: make serve PORT=4201, perpo serve --port 4201"
        ) from error


def build_environment(
    home: Path, port: int, lasting: bool = False, auth: str | None = None
) -> dict[str, str]:
    """The server's: its own home and pages, no address of another, a UI only where it lasts."""
    own = {
        "PREFECT_HOME": str(home),
        "PREFECT_UI_ENABLED": "false",
        ORIGINS: ",".join(list_origins(port)),
    }
    if auth is not None:
        own[SERVER_AUTH] = auth
    if lasting:
        own |= {
            "PREFECT_UI_ENABLED": "true",
            "PREFECT_UI_API_URL": f"{find_public_url() or build_origin(port)}/api",
            # Prefect copies its pages before it serves them: not into the environment's packages.
            "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui"),
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            # Leases in memory are forgotten by a restart, and a slot without one stays taken.
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
                "prefect.server.concurrency.lease_storage.filesystem"
            ),
        }
    inherited = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    return {**DEFAULTS, **inherited, **own, "PYTHONPATH": build_python_path()}


def list_origins(port: int) -> list[str]:
    """The addresses at which a browser may find the server, "http://HOST:PORT"."""
    public = find_public_url()
    return [build_origin(port), build_origin(port, "localhost"), *([public] if public else [])]


def build_origin(port: int, host: str = HOST) -> str:
    """An address without a path."""
    return f"http://{host}:{port}"


def main() -> None:
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, PREFECT_SERVER_CORS_ALLOWED_ORIGINS

    from flows.serving.gate import guard

    hide_addresses()
    # ephemeral: without UI, scheduler and their like, which have nothing to do in a server that
    # ends with its command; final: nobody adds routes.
    app = create_app(ephemeral=LASTING not in sys.argv, final=True)
    if LASTING in sys.argv:
        from starlette.routing import Mount

        from flows.serving.report_route import add_reports
        from flows.serving.tune_route import build_tune_app
        from flows.serving.view_route import build_view_app
        from perpo_core.store.open import open_store

        home, auth = Path(os.environ["PREFECT_HOME"]), PREFECT_SERVER_API_AUTH_STRING.value()
        add_reports(app, home.parent / "reports", auth, find_reports_key(home))
        open_served = partial(open_store, os.environ[STORE])
        view = build_view_app(open_served, find_view_key(home), auth)
        app.router.routes.insert(0, Mount(VIEW_PATH, view))
        tune = build_tune_app(open_served, find_tune_key(home), auth)
        app.router.routes.insert(0, Mount(TUNE_PATH, tune))
    origins = PREFECT_SERVER_CORS_ALLOWED_ORIGINS.value().split(",")
    uvicorn.run(guard(app, origins), fd=int(sys.argv[1]), log_level="error")


if __name__ == "__main__":
    main()
