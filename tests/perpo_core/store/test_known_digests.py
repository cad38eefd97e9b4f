"""A large file is read again only where somebody may have touched it."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from perpo_core.store import known_digests
from perpo_core.store.keys import hash_file
from perpo_core.store.known_digests import RENEW_S, SMALL_BYTES, KnownDigests
from perpo_core.store.left_out import forget_left_out, list_left_out

LONG_AGO_S = 30 * 24 * 3600
CONTENT = os.urandom(SMALL_BYTES)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read from now on."""
    names = list[str]()

    def note(path: str) -> str:
        names.append(os.path.basename(path))
        return hash_file(path)

    monkeypatch.setattr(known_digests, "hash_file", note)
    return names


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """later(seconds): the clock of who hashes is ahead of the files' by so much."""
    real = time.time

    def advance(seconds: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)

    return advance


def look(known: KnownDigests, path: Path) -> str:
    found = known.hash(str(path), path.stat())
    known.keep()
    return found


def write(path: Path, content: bytes = CONTENT) -> Path:
    path.write_bytes(content)
    return path


def digest(content: bytes = CONTENT) -> str:
    return hashlib.sha256(content).hexdigest()


def test_an_untouched_file_is_read_once_by_whatever_process(tmp_path, read, later) -> None:
    path = write(tmp_path / "pack")
    later(60)
    for _ in range(2):
        known = KnownDigests(tmp_path / "known.sqlite")
        assert look(known, path) == look(known, path) == digest()
    assert read == ["pack"]


TOUCHED: dict[str, Callable[[Path], object]] = {
    "written": lambda path: write(path, CONTENT[::-1]),
    "one byte of it": lambda path: _flip(path),
    "replaced": lambda path: write(path.with_name("new"), CONTENT[::-1]).replace(path),
    "linked elsewhere": lambda path: _link(path),
    "only its time set": os.utime,
}


def _flip(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes([CONTENT[0] ^ 1]))


def _link(path: Path) -> None:
    path.unlink()
    path.hardlink_to(write(path.parent / "other", CONTENT[::-1]))


@pytest.mark.parametrize("how", TOUCHED)
def test_a_file_that_was_touched_is_read_though_size_and_time_are_as_before(
    tmp_path: Path, read: list[str], later: Callable[[float], None], how: str
) -> None:
    path = write(tmp_path / "pack")
    before = path.stat()
    later(60)
    known = KnownDigests(tmp_path / "known.sqlite")
    look(known, path)
    TOUCHED[how](path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert look(known, path) == digest(path.read_bytes())
    assert read == ["pack", "pack"]


def test_a_file_written_a_moment_ago_is_read_again(tmp_path, read) -> None:
    """The next write may leave the same times."""
    path = write(tmp_path / "pack")
    known = KnownDigests(tmp_path / "known.sqlite")
    assert look(known, path) == look(known, path) == digest()
    assert read == ["pack", "pack"]


def test_a_file_that_this_process_wrote_is_known_at_once(tmp_path, read) -> None:
    path = write(tmp_path / "pack")
    known = KnownDigests(tmp_path / "known.sqlite")
    known.hash_new(str(path), path.stat())
    known.keep()
    assert look(known, path) == digest()
    time.sleep(0.05)  # beyond a tick of the clock
    _flip(path)
    assert look(known, path) == digest(path.read_bytes())
    assert read == ["pack", "pack"]


@pytest.mark.parametrize(("seconds", "times"), [(RENEW_S - 60, 1), (RENEW_S + 60, 2), (-60, 2)])
def test_what_is_known_ends_in_a_week_and_is_never_of_the_future(
    tmp_path, read, later, seconds, times
) -> None:
    path = write(tmp_path / "pack")
    known = KnownDigests(tmp_path / "known.sqlite")
    later(LONG_AGO_S)
    look(known, path)
    later(LONG_AGO_S + seconds)
    look(known, path)
    assert len(read) == times


def test_files_that_are_gone_do_not_stay_known_for_ever(tmp_path, later) -> None:
    known, names = KnownDigests(tmp_path / "known.sqlite"), ["old", "new"]
    for seconds, name in zip((LONG_AGO_S, LONG_AGO_S + RENEW_S + 60), names, strict=True):
        later(seconds)
        look(known, write(tmp_path / name))
    with sqlite3.connect(tmp_path / "known.sqlite") as database:
        assert database.execute("SELECT path FROM files").fetchall() == [(str(tmp_path / "new"),)]


def test_a_file_that_changes_while_it_is_read_is_not_known(tmp_path, monkeypatch, later) -> None:
    path = write(tmp_path / "pack")

    def hash_and_write(name: str) -> str:
        found = hash_file(name)
        write(path, CONTENT[::-1])
        return found

    later(60)
    known = KnownDigests(tmp_path / "known.sqlite")
    monkeypatch.setattr(known_digests, "hash_file", hash_and_write)
    look(known, path)
    monkeypatch.setattr(known_digests, "hash_file", hash_file)
    assert look(known, path) == digest(CONTENT[::-1])


def _be_no_database(file: Path) -> None:
    file.write_bytes(b"no database" * 500)


def _be_a_folder(file: Path) -> None:
    file.mkdir()


def _be_another_table(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE files (a INTEGER)")


@pytest.mark.parametrize("spoil", [_be_no_database, _be_a_folder, _be_another_table])
def test_without_its_file_all_is_read_and_that_is_said(tmp_path, later, spoil) -> None:
    path = write(tmp_path / "pack")
    spoil(tmp_path / "known.sqlite")
    later(60)
    forget_left_out()
    known = KnownDigests(tmp_path / "known.sqlite")
    assert look(known, path) == look(known, path) == digest()
    [said] = list_left_out()
    assert said.startswith(f"left out: {tmp_path}/known.sqlite: ")
    assert said.endswith("files that are known are hashed again")
    forget_left_out()


def test_small_files_are_not_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PERPO_CACHE", str(tmp_path / "cache"))
    path = write(tmp_path / "row.json", b"{}")
    assert known_digests.hash_untouched(path) == digest(b"{}")
    assert not (tmp_path / "cache").exists()


HASH = """
import sys, time
from perpo_core.store import known_digests
known_digests.time.time = lambda real=time.time: real() + 60
print(known_digests.hash_untouched(sys.argv[1]))
"""


def test_a_process_leaves_what_it_learnt_to_the_next(tmp_path: Path) -> None:
    path = write(tmp_path / "pack")
    env = os.environ | {"PERPO_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", HASH, str(path)]
    done = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == digest()
    with sqlite3.connect(tmp_path / "cache" / known_digests.FILE) as database:
        [[name, sha256]] = database.execute("SELECT path, sha256 FROM files")
    assert (name, sha256) == (str(path), digest())
