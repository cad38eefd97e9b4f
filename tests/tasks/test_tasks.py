"""The tasks' own parts: names, progress, slots, range mapping."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.base import ALL_STAGES
from schemas.config import RefreshConfig
from tasks.names import describe_work
from tasks.summaries import draw_curve
from tasks.watch import Watcher, get_watcher, watched_by


def test_every_stage_is_described_with_and_without_known_parents() -> None:
    config = RefreshConfig()
    for stage in ALL_STAGES:
        assert describe_work(stage, config, None).startswith(stage)
    assert describe_work("collect", config) == "collect 6,144 digit scenes"
    assert describe_work("generate", config, None) == "generate prompts x 16"


def test_every_stage_has_a_module_that_keeps_the_interface() -> None:
    """The registry names what exists; heavy parts are imported by the stages' children only."""
    from tasks.modules import STAGE_MODULES, load_stage

    assert tuple(STAGE_MODULES) == ALL_STAGES
    for name in ALL_STAGES:
        stage: Any = load_stage(name)
        assert isinstance(stage.KIND, str) and isinstance(stage.VERSION, int)
        assert callable(stage.compute_key) and callable(stage.run)


def test_retries_only_where_an_engine_can_break() -> None:
    from tasks.stages import STAGE_TASKS

    retried = {name for name, task in STAGE_TASKS.items() if task.retries}
    assert retried == {"generate", "contrast", "train", "evaluate", "promote"}


def test_a_watcher_is_told_only_inside() -> None:
    told: list[str] = []

    class Listener(Watcher):
        def note(self, message: str) -> None:
            told.append(message)

    get_watcher().note("before")
    with watched_by(Listener()):
        get_watcher().note("inside")
    get_watcher().note("after")
    assert told == ["inside"]


def test_a_curve_fills_its_frame_and_a_flat_one_is_drawn() -> None:
    assert 'points="12.0,12.0 628.0,228.0"' in draw_curve([(1, 0.7), (5, 0.2)])
    assert "nan" not in draw_curve([(1, 0.5)])


@pytest.mark.usefixtures("prefect_server")
def test_progress_is_throttled_and_ends_at_a_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect import flow

    from tasks import progress

    sent: list[float] = []

    def count(self: Any, percent: float, description: str) -> None:
        sent.append(percent)

    monkeypatch.setattr(progress.Progress, "_update", count)

    @flow
    def run() -> None:
        report = progress.Progress("score")
        for done in range(101):
            report(done, 100, "rows")

    run()
    assert sent == [0.0, 100.0]


@pytest.mark.usefixtures("prefect_server")
def test_the_gpu_slot_is_taken_only_where_the_server_has_it() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    from tasks.slots import slot_exists

    assert not slot_exists("perpo-test-slot")
    with get_client(sync_client=True) as client:
        limit = GlobalConcurrencyLimitCreate(name="perpo-test-slot", limit=1)
        client.create_global_concurrency_limit(limit)
    assert slot_exists("perpo-test-slot")
