"""`perpo serve`: server, deployments and worker on this machine, until told to stop.

    this process -> supervisor -> Prefect's server, its database in <store>/.prefect
                 -> supervisor -> worker -> a process for every flow run -> its children

Whatever ends this process, kill -9 included, ends all of it; when one of the two ends by itself,
the other does too. Nothing is reached outside of this machine. Left out: keeping it alive, which
is what systemd and the like are for, and several machines, which take a server of their own
(`perpo deploy`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.runs.home import HOME, LOCK_FILE, PASSWORD_FILE, find_public_url
from flows.serving.password import CLIENT_AUTH, SERVER_AUTH, find_own_auth, load_or_write_auth
from flows.serving.private import make_private
from flows.serving.server import Server, ServerEnded, build_url, start_server
from flows.serving.supervised import build_python_path, supervised
from perpo_core.process.environment import DEFAULTS
from perpo_core.store.locks import lock_file
from perpo_core.store.place import Place, describe_place, find_folder

ROOT = Path(__file__).parents[2]
PREFECT_FILE = ROOT / "infra" / "prefect.yaml"
WORKER = "perpo"  # no other worker of the server has this name (flows/serving/leftovers.py)
WORKER_LOG = "worker.log"
POLL_S = 0.5
WORKER_ENV = {
    "PREFECT_WORKER_QUERY_SECONDS": "3",  # a run that was started shall not wait ten seconds
}
Say = Callable[[str], None]


def serve(
    store: Place,
    port: int,
    *,
    say: Say,
    prefect_file: Path = PREFECT_FILE,
    with_parent: bool = False,
) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP; `with_parent`: or until this process's parent ends.

    Raises ValueError, one sentence, if the store is served already, the port is taken or a
    deployment is refused; ServerEnded if server or worker ended by themselves.
    """
    if not prefect_file.is_file():
        raise ValueError(f"{prefect_file} is missing; run from a checkout of the repository")
    parent = os.getppid() if with_parent else None
    home = find_folder(store) / HOME
    make_private(home)
    with stopping_on_signals(), lock_store(home, port):
        kept = load_or_write_auth(home)
        auth = find_own_auth() or kept
        say("starting Prefect's server")
        with start_server(home, port, lasting=True, auth=auth, store=store) as server:
            env = build_environment(home, server, store, auth)
            prepare(server, prefect_file, home, env, say)
            with start_worker(home, env) as worker:
                greet(server, store, home, auth, say)
                wait_for_end(server, worker, home, parent)
    say("stopped; a run that was going on resumes when it is retried")


def prepare(server: Server, prefect_file: Path, home: Path, env: dict[str, str], say: Say) -> None:
    """Wait for the server, give it what it needs and end the runs of a worker that was killed."""
    server.wait()
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    from flows.serving.leftovers import end_leftovers
    from flows.serving.setup import POOL, set_up

    with temporary_settings(
        {PREFECT_API_AUTH_STRING: env[CLIENT_AUTH], PREFECT_API_URL: server.url}
    ):
        end_leftovers(POOL, WORKER, say)
        say(f"creating work pool, GPU slot and deployments of {prefect_file}")
        set_up(server.url, prefect_file, home, ROOT, env)


def greet(server: Server, store: Place, home: Path, auth: str, say: Say) -> None:
    """Say where the UI is and what opens it; a password of the user's own is not repeated."""
    if find_own_auth() is None:
        say(f"password, asked for once: {auth} (kept in {home / PASSWORD_FILE})")
    else:
        say(f"password, asked for once: that of {SERVER_AUTH}")
    ui = find_public_url() or server.url.removesuffix("/api")
    say(f"Prefect's UI: {ui} (store: {describe_place(store)})")


@contextmanager
def start_worker(home: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The worker that starts due runs as processes on this machine."""
    from flows.serving.setup import POOL

    command = ["-m", "prefect", "worker", "start", "--pool", POOL, "--name", WORKER]
    with supervised(
        [*command, "--install-policy", "never"], log_path=home / WORKER_LOG, env=env, cwd=ROOT
    ) as worker:
        yield worker


def build_environment(home: Path, server: Server, store: Place, auth: str) -> dict[str, str]:
    """The worker's and its runs': this server, this store, quiet, a heartbeat."""
    from flows.serving.setup import HEARTBEAT_S

    own = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": server.url,
        CLIENT_AUTH: auth,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S),
        "PERPO_STORE": describe_place(store),
        "PYTHONPATH": build_python_path(),
    }
    return {**DEFAULTS, **WORKER_ENV, **os.environ, **own}


def wait_for_end(
    server: Server, worker: subprocess.Popen[bytes], home: Path, parent: int | None
) -> None:
    """Until the parent has ended; raises ServerEnded if server or worker did."""
    while True:
        time.sleep(POLL_S)
        if parent is not None and os.getppid() != parent:
            return
        if server.process.poll() is not None:
            raise ServerEnded(f"Prefect's server ended; its log is {server.log_path}")
        if worker.poll() is not None:
            raise ServerEnded(f"the worker ended; its log is {home / WORKER_LOG}")


@contextmanager
def lock_store(home: Path, port: int) -> Iterator[None]:
    """Hold the store for one server; raises ValueError if it has one."""

    def refuse(url: str) -> str:
        ui = url.removesuffix("/api")
        return f"{home.parent} is served already, at {ui}; use that, or stop it first"

    with lock_file(home / LOCK_FILE, build_url(port), refuse):
        yield


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the block as Ctrl-C does, quietly and from within out."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
