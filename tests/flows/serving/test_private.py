"""Who may read what lies in a store: the umask decides; the server's home is its owner's alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.runs.home import HOME, find_served
from flows.serving.private import make_private
from flows.serving.server import start_server
from perpo_core.store.atomic import write_atomic
from tests.flows.other_user import NOBODY, open_folder, read_as_another

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def read_mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_files_of_the_store_follow_the_umask(umask: int, tmp_path: Path) -> None:
    write_atomic(tmp_path / "runs" / "a.json", b"{}")
    write_atomic(tmp_path / "runs" / "a.json", b"[]")
    assert read_mode(tmp_path / "runs" / "a.json") == 0o666 & ~umask
    assert read_mode(tmp_path / "runs") == 0o777 & ~umask


def test_a_home_that_others_could_enter_is_closed(umask: int, tmp_path: Path) -> None:
    home = tmp_path / HOME
    home.mkdir()
    home.chmod(0o755)
    for name in ("prefect.db", "prefect.db-wal"):
        (home / name).touch(0o644)
        (home / name).chmod(0o644)
    make_private(home)
    assert read_mode(home) == 0o700
    assert {read_mode(path) for path in home.iterdir()} == {0o600}


def test_the_server_keeps_its_database_to_itself() -> None:
    before = os.umask(0)
    try:
        with open_folder() as store, start_server(store / HOME) as server:
            server.wait()
            database = store / HOME / "prefect.db"
            assert (read_mode(store / HOME), read_mode(database)) == (0o700, 0o600)
            if os.geteuid() == 0:
                assert read_as_another(database) == ["refused"]
    finally:
        os.umask(before)


@as_root
def test_another_user_can_look_at_a_store_but_not_start_a_server_there() -> None:
    with open_folder() as store:
        make_private(store / HOME)
        (child := os.fork()) or os._exit(look(store))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def look(store: Path) -> int:
    """0 if all is as it should be, as somebody else."""
    os.setuid(NOBODY)
    if find_served(store) is not None:
        return 1
    try:
        make_private(store / HOME)
    except ValueError as refusal:
        return 0 if "is another user's" in str(refusal) else 2
    return 3
