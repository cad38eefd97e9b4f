"""A throw-away PostgreSQL server from the system's package: own folder, own port, own password.

It ends with the block or with this process, kill -9 included. Run by root it is another user's,
since initdb and postgres refuse root.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from flows.serving.server import HOST
from flows.serving.supervised import supervised
from tests.flows.api import wait_until
from tests.flows.served import find_free_port

ROOT_OF_VERSIONS = Path("/usr/lib/postgresql")
USERS = ("postgres", "nobody")
ROLE = DATABASE = "postgres"
START_TIMEOUT_S = 60.0
AS_USER = """
import os, sys
uid, gid = int(sys.argv[1]), int(sys.argv[2])
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_binaries() -> Path:
    """The newest version's programs; the test is skipped where there are none."""
    found = sorted(ROOT_OF_VERSIONS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        pytest.skip(f"no PostgreSQL server below {ROOT_OF_VERSIONS} (Debian: apt install "
                    "postgresql)")  # fmt: skip
    return found[-1].parent


class Postgres:
    """A running server."""

    def __init__(self, folder: Path, user: pwd.struct_passwd) -> None:
        self._folder, self._user = folder, user
        self._binaries = find_binaries()
        self._password = secrets.token_urlsafe(16)
        self._running: AbstractContextManager[subprocess.Popen[bytes]] | None = None
        self.port = find_free_port()

    @property
    def url(self) -> str:
        """As PREFECT_SERVER_DATABASE_CONNECTION_URL wants it."""
        return f"postgresql+asyncpg://{ROLE}:{self._password}@{HOST}:{self.port}/{DATABASE}"

    def create(self) -> None:
        """The files of an empty database."""
        password_file = self._folder / "password"
        password_file.write_text(self._password)
        os.chown(password_file, self._user.pw_uid, self._user.pw_gid)
        self._run_as_user("initdb", "-D", "data", "-U", ROLE, "--auth=scram-sha-256",
                          "--pwfile=password", "--encoding=UTF8", "--locale=C")  # fmt: skip

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._running = supervised(
            [*self._as_user("postgres"), "-D", "data", "-h", HOST, "-p", str(self.port),
             "-k", str(self._folder)],
            log_path=self._folder / "postgres.log", env=os.environ, cwd=self._folder,
        )  # fmt: skip
        self._running.__enter__()
        wait_until(self.answers, START_TIMEOUT_S)

    def stop(self) -> None:
        """Stop it at once (pg_ctl stop -m immediate): every connection breaks, as in a crash."""
        if self._running is None:
            return
        for pid in self._find_pids():
            os.kill(pid, signal.SIGQUIT)
        wait_until(lambda: not self._find_pids(), 30)
        self._running.__exit__(None, None, None)
        self._running = None

    def answers(self) -> bool:
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", HOST, "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0

    def query(self, sql: str) -> str:
        """What psql prints of a statement, bare."""
        done = subprocess.run(
            [self._binaries / "psql", "-XAtq", "-h", HOST, "-p", str(self.port), "-U", ROLE,
             "-d", DATABASE, "-c", sql],
            env={**os.environ, "PGPASSWORD": self._password}, text=True, check=True,
            capture_output=True,
        )  # fmt: skip
        return done.stdout.strip()

    def _find_pids(self) -> list[int]:
        """The postmaster, which ends all others."""
        path = self._folder / "data" / "postmaster.pid"
        pid = int(path.read_text().split()[0]) if path.is_file() else 0
        return [pid] if pid and psutil.pid_exists(pid) else []

    def _run_as_user(self, name: str, *arguments: str) -> None:
        with supervised(
            [*self._as_user(name), *arguments], log_path=self._folder / f"{name}.log",
            env=os.environ, cwd=self._folder,
        ) as process:  # fmt: skip
            process.wait(START_TIMEOUT_S)

    def _as_user(self, name: str) -> list[str]:
        ids = [str(self._user.pw_uid), str(self._user.pw_gid)]
        return ["-c", AS_USER, *ids, str(self._binaries / name)]


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server with an empty database."""
    find_binaries()
    user = find_user()
    folder = Path(tempfile.mkdtemp(prefix="perpo-postgres-"))  # pytest's folders are the user's own
    os.chown(folder, user.pw_uid, user.pw_gid)
    try:
        postgres = Postgres(folder, user)
        postgres.create()
        try:
            postgres.start()
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder)


def find_user() -> pwd.struct_passwd:
    """Whose server it is: this process's user, or where that is root another one."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    names = {entry.pw_name for entry in pwd.getpwall()}
    return pwd.getpwnam(next(name for name in USERS if name in names))
