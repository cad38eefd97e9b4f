"""A disk that fills up in the middle of a whole refresh: one sentence, and it resumes.

The store is on a small disk of its own, Prefect's database in it too, as in real life.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.base import StageName
from tests.flows.whole import (
    COMMAND_TIMEOUT_S,
    PERPO,
    build_env,
    identify_files,
    list_digests,
    load_latest,
    load_report,
    run_perpo,
    write_config,
)
from tests.perpo_core.store.disks import fill, small_disk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
DISK_BYTES = 96 << 20  # a small refresh takes a quarter of it
NO_CHECK = ("--set", "min_free_disk_gb=0")
MIDST: list[tuple[StageName, str]] = [
    ("generate", "candidates/*/part-00000.parquet.json"),
    ("train", "checkpoint/*/work/checkpoint-*/trainer_state.json"),
]


def refresh_and_fill(config: Path, ballast: Path, is_time: Callable[[], bool]) -> tuple[int, str]:
    """(exit code, what it said) of a refresh whose disk is filled once it is time."""
    process = subprocess.Popen(
        [PERPO, "refresh", str(config), *NO_CHECK], env=build_env(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    deadline_s = time.monotonic() + COMMAND_TIMEOUT_S
    while not is_time():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.005)
    fill(ballast)
    _, error = process.communicate(timeout=COMMAND_TIMEOUT_S)
    return process.returncode, error


def test_a_full_disk_is_one_sentence_and_loses_nothing(small_run: Path, tmp_path: Path) -> None:
    config, store = write_config(tmp_path)
    with small_disk(store, DISK_BYTES):
        for stage, pattern in MIDST:
            ballast = store / "ballast"
            code, said = refresh_and_fill(config, ballast, lambda: bool(list(store.glob(pattern))))  # noqa: B023
            finished = identify_files(store, "*/*/part-*.parquet.json")
            print(stage, code, said)
            assert code == 2, said
            assert said.startswith("the disk is full, ") and len(said.splitlines()) == 1
            record = load_latest(store)
            assert record is not None and stage not in record.stages
            ballast.unlink()
            assert not list(store.glob("*/*/.tmp-*"))
            assert finished.items() <= identify_files(store, "*/*/part-*").items()
        run_perpo("refresh", config, *NO_CHECK)
        report, expected = load_report(store), load_report(small_run)
        assert list_digests(report) == list_digests(expected)
        assert report["metrics"] == expected["metrics"]
        assert finished.items() <= identify_files(store, "*/*/part-*").items(), "made twice"
