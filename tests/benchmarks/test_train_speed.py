"""The training benchmark: what it reports, and that it notices when the work is not the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.engines import ENGINES
from tests.benchmarks.llava import Shape
from tests.benchmarks.train_speed import Child, build_row, check_losses

FIELDS = {"shape", "engine", "lists_per_s", "lists_per_s_range", "tokens_per_s", "peak_bytes",
          "start_bytes", "token_bound"}  # fmt: skip


def test_a_row_by_hand() -> None:
    """Rounds of 2 lists in (9), 4, 2, 1 s, the first not counted: 0.5, 1 and 2 lists a second.

    20 answers of 20 tokens after 606: 20 * 626 tokens in separate sequences, 1,006 packed.
    """
    shape = Shape(20, 20)
    child: Any = Child((shape, "separate"), None, None, [9.0, 4.0, 2.0, 1.0])  # type: ignore[arg-type]
    end = {"lists_per_round": 2, "tokens_per_list": 12_520, "peak_bytes": 3, "start_bytes": 2}
    row = build_row(child, end)
    assert set(row) == FIELDS
    assert (row["lists_per_s"], row["lists_per_s_range"]) == (1.0, [0.5, 2.0])
    assert (row["tokens_per_s"], row["token_bound"]) == (12_520, 12.445)


def test_different_losses_are_refused() -> None:
    shape = Shape(4, 20)
    ends = {(shape, "packed"): {"losses": [0.7, 0.6, 0.5]}, (shape, "separate"): {"losses": [0.7]}}
    check_losses(ends)
    ends[shape, "separate"]["losses"].append(0.61)
    with pytest.raises(ValueError, match=r"G4-R20: packed has loss 0.6, separate 0.61"):
        check_losses(ends)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_benchmark_ends_in_one_json_object() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.train_speed", "--rounds", "1"]
    shown = subprocess.run(
        [*command, "--shapes", "G4-R20"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    rows = json.loads(shown.stdout.splitlines()[-1])["results"]
    assert [row["engine"] for row in rows] == list(ENGINES)
    assert all(set(row) == FIELDS for row in rows)
    speeds = {row["engine"]: row["lists_per_s"] for row in rows}
    assert speeds["packed-cached-ref"] > speeds["packed"] > 1.5 * speeds["separate"]
    assert speeds["separate"] > speeds["trl"]
