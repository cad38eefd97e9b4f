"""The benchmark of scoring: its rows and demands by hand, and a short run of all of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.score_speed import Job, build_row, compute_iou, find_missed

FIELDS = {
    "task", "engine", "answers", "rows_per_s", "rows_per_s_range", "cpu_us_per_row", "peak_bytes",
    "start_bytes",
}  # fmt: skip


def test_a_row_by_hand() -> None:
    """1,000 answers in 4, 2 and 1 s: 250, 500 and 1,000 a second, 1 ms of CPU each."""
    rounds = [
        {"seconds": seconds, "cpu_s": 1.0, "peak_bytes": 10 * seconds, "start_bytes": 5}
        for seconds in (4, 2, 1)
    ]
    row = build_row(Job("grounding", "columns", 2000, 1000), rounds)
    assert set(row) == FIELDS
    assert (row["rows_per_s"], row["rows_per_s_range"]) == (500.0, [250.0, 1000.0])
    assert (row["cpu_us_per_row"], row["peak_bytes"]) == (1000.0, 40)


def build_results(boxes_per_s: float, pages_per_s: float, many_bytes: int) -> list[dict[str, Any]]:
    few = {"task": "grounding", "engine": "columns", "rows_per_s": boxes_per_s, "answers": 1}
    pages = {"task": "ocr", "engine": "columns", "rows_per_s": pages_per_s, "answers": 1}
    bare = {"task": "ocr", "engine": "rapidfuzz", "rows_per_s": 100.0, "answers": 1}
    few["peak_bytes"] = 100
    return [few, {**few, "peak_bytes": many_bytes}, pages, bare]


@pytest.mark.parametrize(
    ("given", "missed"),
    [
        ((300_000, 80, 125), []),
        ((299_999, 80, 125), ["boxes", "boxes"]),
        ((300_000, 79, 125), ["pages"]),
        ((300_000, 80, 126), ["memory"]),
    ],
)
def test_what_is_demanded(given: tuple[float, float, int], missed: list[str]) -> None:
    found = find_missed(build_results(*given))
    assert len(found) == len(missed)
    assert all(word in sentence for word, sentence in zip(missed, found, strict=True))


def test_the_loop_compares_boxes_rightly() -> None:
    assert compute_iou((0, 0, 0.5, 0.5), (0.25, 0, 0.75, 0.5)) == pytest.approx(1 / 3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_benchmark_ends_in_one_json_object() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.score_speed", "--rounds", "1"]
    shown = subprocess.run(
        [*command, "--answers", "8192", "--pages", "512", "--loop-pages", "1"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = json.loads(shown.stdout.splitlines()[-1])["results"]  # so few are not fast
    engines = [(row["task"], row["engine"]) for row in rows]
    assert engines[2:] == [
        ("grounding", "loop"), ("ocr", "columns"), ("ocr", "rapidfuzz"), ("ocr", "loop"),
    ]  # fmt: skip
    assert all(set(row) == FIELDS for row in rows)
    assert "Traceback" not in shown.stderr
