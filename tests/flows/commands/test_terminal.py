"""Terminals that lack characters, or go away: commands say what they can, and runs complete."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.runs.records import load_records
from perpo_core.store.store import Store
from tests.flows.toy import build_command, write_policy

TIMEOUT_S = 240


def run(command: list[str], encoding: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    env |= {"LANG": "C", "PYTHONIOENCODING": f"{encoding}:strict"}
    options = {"stdout": subprocess.PIPE} | options
    return subprocess.run(
        command, stderr=subprocess.PIPE, env=env, timeout=TIMEOUT_S, check=False, **options
    )  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A store of one toy run, made where stdout is ASCII."""
    folder = tmp_path_factory.mktemp("terminal")
    store, policy = folder / "store", write_policy(folder / "policy")
    done = run(build_command(store, policy), "ascii")
    assert done.returncode == 0, done.stderr
    yield store, policy


def test_a_refresh_completes_where_stdout_is_ascii(refreshed: tuple[Path, Path]) -> None:
    [record] = load_records(Store(refreshed[0]))
    assert record.status == "completed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "encoding"),
    [
        ("show", "ascii"), ("runs", "latin-1"), ("show", "latin-1"), ("doctor", "latin-1"),
        ("refresh", "latin-1"), ("--help", "ascii"),
    ],
)  # fmt: skip
def test_commands_print_plain_signs_where_the_terminal_lacks_ours(
    command: str, encoding: str, refreshed: tuple[Path, Path]
) -> None:
    store, policy = refreshed
    toy = [sys.executable, "-m", "tests.flows.toy", command]
    if command in ("doctor", "refresh"):
        toy = [*build_command(store, policy)[:3], command, *build_command(store, policy)[4:]]
    elif command in ("runs", "show"):
        toy += ["--store", str(store)]
    done = run(toy, encoding)
    assert done.returncode == 0, done.stderr
    assert b"codec" not in done.stdout + done.stderr
    if command in ("show", "refresh"):
        assert b"+ better" in done.stdout and b"?" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["full", "closed"])
def test_a_run_completes_when_nobody_takes_what_it_shows(lost: str, tmp_path: Path) -> None:
    store, policy = tmp_path / "store", write_policy(tmp_path / "policy")
    command = build_command(store, policy)
    if lost == "full":
        with open("/dev/full", "wb") as full:
            done = run(command, "utf-8", stdout=full)
        assert done.stderr.count(b"stdout takes no more") == 1
    else:
        reading, writing = os.pipe()
        os.close(reading)
        done = run(command, "utf-8", stdout=writing)
        os.close(writing)
    assert done.returncode == 0, done.stderr
    [record] = load_records(Store(store))
    assert record.status == "completed"


@pytest.mark.slow
def test_a_home_that_cannot_be_written_to_costs_no_word(tmp_path: Path) -> None:
    command = build_command(tmp_path / "store", write_policy(tmp_path / "policy"))
    done = run(["env", "HOME=/dev/null", *command], "utf-8")
    assert (done.returncode, done.stderr) == (0, b"")
