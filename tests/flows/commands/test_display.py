"""What a run shows, read as text."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from flows.commands.display import (
    LiveDisplay,
    PlainDisplay,
    StageLine,
    describe_counts,
    format_seconds,
)
from flows.commands.tables import build_metrics_table, build_stages_table, describe_promotion
from perpo_core.store.provenance import describe_producer, utc_now
from schemas.artifact import Counts, Gate, Promotion
from schemas.base import ALL_STAGES, STAGES, TaskName
from schemas.config import RefreshConfig
from schemas.run import RunRecord, StageRecord

COUNTS = Counts(num_in=10, num_kept=7, dropped={"low gap": 2, "cut off": 1})


def render(renderable: object) -> str:
    console = Console(width=120, file=io.StringIO(), record=True)
    console.print(renderable)
    return console.export_text()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (12.4, "12 s"), (200, "3:20"), (3723, "1:02:03")],
)
def test_seconds_as_a_person_reads_them(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_rate_and_time_left_count_from_where_a_resumed_stage_began() -> None:
    line = StageLine("running")
    line.advance(500, 1000, "prompts", now_s=10.0)
    assert line.describe_progress(10.0) == "500/1,000 prompts"
    line.advance(600, 1000, "prompts", now_s=12.0)
    assert line.describe_progress(12.0) == "600/1,000 prompts, 50/s, 8.0 s left"


def test_counts_name_the_reasons() -> None:
    assert describe_counts(COUNTS) == "7 kept, 3 dropped (low gap 2, cut off 1)"
    grown = COUNTS.model_copy(update={"num_reused": 4})
    assert describe_counts(grown).endswith("cut off 1), 4 of 10 taken over")


def test_the_stage_table_says_how_much_was_made_anew() -> None:
    entry = StageRecord(kind="candidates", key="a" * 64, digest="b" * 64, reused=False, seconds=2.0)
    record = RunRecord(
        run_id="toy-1", status="completed", config=RefreshConfig(), policy_digest="c" * 64,
        policy_folder=Path("model"), stages={"generate": entry}, started_at=utc_now(),
    )  # fmt: skip
    counts = Counts(num_in=2000, num_kept=2000, num_reused=1800)
    lines = render(build_stages_table(record, {"generate": counts})).splitlines()
    [line] = [line for line in lines if "generate" in line]
    assert [word for word in line.split() if word in ("200", "1,800")] == ["200", "1,800"]
    [line] = [line for line in lines if "score" in line]
    assert "not run" in line


def test_the_live_display_has_a_line_a_stage() -> None:
    display = LiveDisplay(Console(width=120, file=io.StringIO()))
    display.start("collect")
    display.finish("collect", True, 0.2, COUNTS)
    display.start("generate")
    display.progress("generate", 512, 2048, "prompts")
    display.skip("promote", "not asked for")
    lines = render(display).splitlines()
    assert len(lines) == 7
    assert lines[0].split()[:4] == ["collect", "reused", "0.2", "s"]
    assert "512/2,048 prompts" in lines[1]
    assert lines[2].split() == ["score", "pending"]
    assert "not asked for" in lines[6]


def test_the_plain_display_writes_whole_lines_and_no_markup() -> None:
    console = Console(width=40, file=io.StringIO(), record=True)
    display = PlainDisplay(console)
    display.start("score")
    display.log("score", "[bold]a message that is much longer than forty characters[/bold]")
    display.progress("score", 1, 2, "shards")
    display.finish("score", False, 61, COUNTS)
    assert console.export_text().splitlines() == [
        "score: [bold]a message that is much longer than forty characters[/bold]",
        "score: done in 1:01, 7 kept, 3 dropped (low gap 2, cut off 1)",
    ]


def test_the_metrics_table_says_which_way_is_better() -> None:
    from perpo_core.store.provenance import describe_producer, utc_now
    from schemas.artifact import EvalReport
    from tests.flows.toy import METRIC, WORSE

    evaluation = EvalReport(
        stage="evaluate", key="a" * 64, digest="b" * 64, files=[], counts=COUNTS, parents=[],
        producer=describe_producer(seed=0), created_at=utc_now(), seconds=0, validation={},
        metrics={"grounding": {"acc_at_50": METRIC}, "ocr": {"edit_distance": WORSE}},
        headroom_closed={},
    )  # fmt: skip
    text = render(build_metrics_table(evaluation))
    assert "\u2191 better" in text.split("edit distance")[0]
    assert "\u2191 worse" in text.split("edit distance")[1]
    lines = LiveDisplay(Console())
    assert tuple(lines.lines) == STAGES
    lines.start("contrast")
    assert list_shown(lines) == list(ALL_STAGES), "in the order of the recipe"


def list_shown(display: LiveDisplay) -> list[str]:
    """The stages, top to bottom."""
    words = render(display).split()
    return sorted(ALL_STAGES, key=words.index)


def build_promotion(*gates: Gate) -> Promotion:
    return Promotion(
        stage="promote", key="a" * 64, digest="b" * 64, files=[], parents=[], seconds=0,
        counts=Counts(num_in=0, num_kept=0), producer=describe_producer(0, 1),
        created_at=utc_now(), promoted=False, gates=list(gates), policy_digest="c" * 64,
    )  # fmt: skip


def build_gate(task: TaskName, measured: float | None) -> Gate:
    return Gate(task=task, metric="greedy_reward", rule="a rule", measured=measured, passed=False)


def test_a_failed_gate_is_said_and_a_skipped_one_only_where_none_failed() -> None:
    failed, skipped = build_gate("grounding", -0.2), build_gate("ocr", None)
    said = describe_promotion(build_promotion(failed, skipped)).plain
    assert said == "Not promoted: gate failed: grounding, a rule; measured -0.2000"
    said = describe_promotion(build_promotion(skipped)).plain
    assert said == "Not promoted: gate skipped: ocr, a rule"
