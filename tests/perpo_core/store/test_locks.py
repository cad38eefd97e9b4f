"""Who may run here: looking takes nothing, and a lock is what it seems, on NFS too."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from perpo_core.promotion.approvals import load_approvals
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.atomic import (
    TEMPORARY_PREFIX,
    remove_leftovers,
    temporary_beside,
    write_atomic,
)
from perpo_core.store.file_lock import try_lock
from perpo_core.store.locks import (
    is_locked,
    list_locked,
    lock_artifact,
    lock_file,
    lock_name,
    lock_store,
    locked,
    read_holder,
    share_store,
)
from perpo_core.store.store import LOCK_FILE, Store
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tests.flows.toy import TOY_STAGES


def test_an_artifact_is_made_alone_and_the_wait_is_said_once(tmp_path: Path) -> None:
    store, key, said = Store(tmp_path), "a" * 64, list[str]()
    with ThreadPoolExecutor(1) as pool:
        with lock_artifact(store, "samples", key, lambda: said.append("never")):
            waiting = threading.Event()

            def say() -> None:
                said.append("waiting")
                waiting.set()

            def take() -> list[str]:
                with lock_artifact(store, "samples", key, say):
                    return list(said)

            second = pool.submit(take)
            assert waiting.wait(10)
            said.append("first is done")
        assert second.result(10) == ["waiting", "first is done"]
    assert [path.name for path in store.folder("samples", key).iterdir()] == [LOCK_FILE]


def test_the_second_of_two_runs_waits_and_takes_what_the_first_made(tmp_path: Path) -> None:
    config, policy = RefreshConfig(store=tmp_path), PolicyRef(digest="a" * 64, folder=tmp_path)
    stage, at_work, go_on = TOY_STAGES["collect"], threading.Event(), threading.Event()
    made, said = [], []

    def run(context: StageContext, key: str) -> Any:
        made.append(key)
        at_work.set()
        assert go_on.wait(10)
        return stage.run(context, key)

    slow = SimpleNamespace(KIND=stage.KIND, VERSION=1, compute_key=stage.compute_key, run=run)

    def log(message: str) -> None:
        said.append(message)
        if message.startswith("waiting"):
            go_on.set()

    context = StageContext(Store(tmp_path), config, policy, log=log)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(find_or_make, context, slow)
        assert at_work.wait(10)
        second = pool.submit(find_or_make, context, slow)
        results = first.result(20), second.result(20)
    assert [result.reused for result in results] == [False, True]
    assert results[0].artifact == results[1].artifact
    assert len(made) == 1
    assert said.count("waiting for another run that makes the same samples") == 1


LOOKER = """
import sys
from pathlib import Path
from perpo_core.store.locks import is_locked, list_locked
from perpo_core.store.store import Store
store, looks = Store(Path(sys.argv[1])), 0
print("looking", flush=True)
while not Path(sys.argv[1], "stop").exists():
    is_locked(store, "nightly")
    list_locked(store)
    looks += 1
print(looks)
"""
HOLDER = """
import subprocess, sys, time
from pathlib import Path
from perpo_core.store.locks import lock_name
from perpo_core.store.store import Store
with lock_name(Store(Path(sys.argv[1])), "nightly"):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    print(child.pid, flush=True)
    time.sleep(100)
"""


def start(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
    )


def test_no_start_is_refused_beside_a_busy_looker(tmp_path: Path) -> None:
    store, refused = Store(tmp_path), 0
    with start(LOOKER, tmp_path) as looker:
        assert looker.stdout is not None
        assert looker.stdout.readline() == "looking\n"
        for _ in range(10_000):
            try:
                with lock_name(store, "nightly"):
                    pass
            except ValueError:
                refused += 1
        (tmp_path / "stop").touch()
        assert int(looker.stdout.read()) > 1000
    assert refused == 0


def test_a_lock_is_seen_by_all_and_kept_whatever_else_is_opened(tmp_path: Path) -> None:
    """Locks of the older POSIX kind would go when the process closes any descriptor of the file."""
    store = Store(tmp_path)
    with lock_name(store, "nightly"):
        path = tmp_path / "runs" / "nightly.lock"
        assert path.read_text() == f"process {os.getpid()}\n" == f"{read_holder(path)}\n"
        look = "import sys; from pathlib import Path; from perpo_core.store.store import Store; "
        look += (
            "from perpo_core.store.locks import list_locked; print(list_locked(Store(sys.argv[1])))"
        )
        with start(look, tmp_path) as looker:
            assert looker.stdout is not None and looker.stdout.read() == "['nightly']\n"
    assert not is_locked(store, "nightly") and list_locked(store) == []


def test_a_killed_holders_lock_is_free_though_its_children_live(tmp_path: Path) -> None:
    with start(HOLDER, tmp_path) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        assert is_locked(Store(tmp_path), "nightly")
        holder.kill()
        holder.wait()
        try:
            os.kill(child, 0)
            with lock_name(Store(tmp_path), "nightly"), lock_artifact(Store(tmp_path), *PART):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


PART = ("samples", "a" * 64, lambda: None)


@pytest.fixture
def other_user() -> Iterator[Path]:
    """A store in which a run of "nightly" goes on, seen by a user to whom its lock is closed."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    user, other = os.geteuid(), 65534
    with lock_name(Store(folder), "nightly"):
        (folder / "runs" / "nightly.lock").chmod(0)
        if user == 0:
            os.seteuid(other)
        try:
            yield folder
        finally:
            os.seteuid(user)
    shutil.rmtree(folder)


def test_a_look_at_another_users_lock_says_whose_it_is(other_user: Path) -> None:
    path = other_user / "runs" / "nightly.lock"
    assert (read_holder(path) or "").startswith(f"unknown: {path} ")
    assert is_locked(Store(other_user), "nightly")


def test_looking_makes_and_writes_nothing(tmp_path: Path) -> None:
    with lock_name(Store(tmp_path), "nightly"), lock_name(Store(tmp_path), "weekly"):
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        for path in before:
            path.chmod(0o500 if path.is_dir() else 0o400)
        assert list_locked(Store(tmp_path)) == ["nightly", "weekly"]
        assert not is_locked(Store(tmp_path / "none"), "nightly")
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_lock_file_that_is_removed_meanwhile_keeps_nobody_out_and_lets_no_two_in(
    tmp_path: Path,
) -> None:
    store, (kind, key, _) = Store(tmp_path), PART
    waiting = threading.Event()

    def wait_and_look() -> bool:
        there = store.folder(kind, key) / LOCK_FILE
        with lock_artifact(store, kind, key, waiting.set), there.open("r+b") as file:
            return try_lock(file.fileno())

    with ThreadPoolExecutor(1) as pool:
        with lock_artifact(*(store, *PART)):
            second = pool.submit(wait_and_look)
            assert waiting.wait(10)
            shutil.rmtree(store.folder(kind, key))
        assert second.result(10) is False, "it holds the lock of the file that is there"


# NFS


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """NFSv4's rule for locks of every kind; whether each that was taken is shared."""
    taken: list[bool] = []
    call, flock = fcntl.fcntl, fcntl.flock

    def check(descriptor: Any, shared: bool) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        taken.append(shared)
        mode = call(number, fcntl.F_GETFL) & os.O_ACCMODE
        if not shared and mode == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def checked_call(descriptor: Any, command: int, argument: Any = 0) -> Any:
        if command in (fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW, fcntl.F_SETLK, fcntl.F_SETLKW):
            check(descriptor, struct.unpack_from("h", argument)[0] == fcntl.F_RDLCK)
        return call(descriptor, command, argument)

    def checked_flock(descriptor: Any, operation: int) -> None:
        check(descriptor, bool(operation & fcntl.LOCK_SH))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "fcntl", checked_call)
    monkeypatch.setattr(fcntl, "flock", checked_flock)
    return taken


def test_every_lock_keeps_to_the_rules_of_nfs(tmp_path: Path, nfs: list[bool]) -> None:
    """A real mount is not at hand; there folders have no locks that other machines see."""
    store = Store(tmp_path)
    with lock_name(store, "nightly"), lock_artifact(store, *PART):
        write_atomic(tmp_path / "file", b"whole")
    with lock_store(store):
        pass
    with share_store(store), locked(tmp_path / "promoted" / ".lock"):
        pass
    with lock_file(tmp_path / ".prefect" / "serve.lock", "http://127.0.0.1:1/api", str):
        pass
    assert load_approvals(store) == []
    assert nfs.count(True) == 2 and nfs.count(False) == 6


def test_what_a_killed_writer_left_goes_and_what_a_living_one_writes_stays(
    tmp_path: Path, nfs: list[bool]
) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}left").write_bytes(b"half")
    with temporary_beside(tmp_path / "file") as temporary:
        remove_leftovers(tmp_path)
        assert list(tmp_path.iterdir()) == [temporary]


def test_where_there_are_no_locks_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> Any:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    path = tmp_path / "runs" / ".store.lock"
    with pytest.raises(ValueError, match=f"{path} cannot be locked"), share_store(Store(tmp_path)):
        pass


def test_locks_have_one_mechanism() -> None:
    root = Path(__file__).parents[3]
    modules = [
        path for name in ("flows", "tasks", "perpo_core") for path in (root / name).rglob("*.py")
    ]
    assert [path.name for path in modules if "fcntl" in path.read_text()] == ["file_lock.py"]
