"""The benchmark of sampling: what it reports, and that it notices when the answers differ."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.generate_speed import build_row, check_ids, compute_ratio
from tests.benchmarks.sampling_engines import Setting

FIELDS = {"engine", "samples_per_s", "samples_per_s_range", "idle_share", "cpu_s"}


def test_a_row_by_hand() -> None:
    """8 prompts with 4 answers in 4, 2 and 1 s: 8, 16 and 32 samples a second."""
    rounds = [
        {"seconds": seconds, "idle_share": share, "cpu_s": 1.0, "ids": ""}
        for seconds, share in ((4.0, 0.1), (2.0, 0.5), (1.0, 0.2))
    ]
    row = build_row("after", Setting(8, 4, 40, 4, 64), rounds)
    assert set(row) == FIELDS
    assert (row["samples_per_s"], row["samples_per_s_range"]) == (16.0, [8.0, 32.0])
    assert row["idle_share"] == 0.2


def test_the_ratio_is_that_of_a_round() -> None:
    """Streaming took 5/4, 10/9 and 1 of bare generation's time."""
    rounds = {
        "after": [{"seconds": 5.0}, {"seconds": 10.0}, {"seconds": 2.0}],
        "bare": [{"seconds": 4.0}, {"seconds": 9.0}, {"seconds": 2.0}],
    }
    assert compute_ratio(rounds) == 0.9
    assert compute_ratio({"after": rounds["after"]}) is None


def test_other_tokens_are_refused() -> None:
    rounds = {engine: [{"ids": "a"}] for engine in ("after", "before", "bare")}
    check_ids({**rounds, "transformers": [{"ids": "b"}]})
    with pytest.raises(ValueError, match="round 0: vLLM gave other tokens"):
        check_ids({**rounds, "before": [{"ids": "b"}]})


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_benchmark_ends_in_one_json_object() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.generate_speed", "--rounds", "1"]
    shown = subprocess.run(
        [*command, "--prompts", "32", "--engines", "before", "after"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    rows = json.loads(shown.stdout.splitlines()[-1])["results"]
    assert [row["engine"] for row in rows] == ["before", "after"]
    assert all(set(row) == FIELDS for row in rows)
