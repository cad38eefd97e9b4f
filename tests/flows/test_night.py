"""Nights that go wrong under `perpo serve`: what Prefect says, what is left, what comes next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.records import load_record
from perpo_core.store import Store
from schemas.run import RunRecord
from tests.flows.served import Served, serving, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
TRUE_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served") / "store") as running:
        yield running


@pytest.fixture
def wish(served: Served) -> Iterator[Path]:
    """The file that says how train shall behave."""
    path = served.store.parent / "break-train"
    yield path
    path.unlink(missing_ok=True)


def load_latest(served: Served) -> RunRecord:
    return load_record(Store(served.store), "latest")


def list_made(served: Served) -> list[str]:
    return [stage for stage, entry in load_latest(served).stages.items() if not entry.reused]


def expect_resumption(served: Served, wish: Path, beta: str) -> None:
    """Nothing of the run is left, and the next one makes only what is missing."""
    assert served.find_children() == []
    assert served.count_taken() == 0
    wish.unlink()
    run = served.start("refresh/on-demand", overrides=[f"train.beta={beta}"])
    served.wait_for(run, "Completed")
    assert list_made(served) == ["train", "evaluate", "promote"]


def test_a_run_cancelled_in_the_ui_ends_whole_and_resumes(served: Served, wish: Path) -> None:
    wish.write_text("hold")
    run = served.start("refresh/on-demand", overrides=["train.beta=0.31"])
    wait_until(served.find_children, 90)
    assert served.count_taken() == 1
    served.change_state(run, "CANCELLING", "Cancelling")
    asked_s = time.monotonic()
    served.wait_for(run, "Cancelled", TRUE_WITHIN_S)
    print(f"Cancelled after {time.monotonic() - asked_s:.1f} s")
    record = load_latest(served)
    assert record.status == "cancelled"
    assert record.error == (
        "cancelled in Prefect; what is finished stays in the store and the next run resumes"
    )
    expect_resumption(served, wish, "0.31")
