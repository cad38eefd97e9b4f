"""Orchestration stays cheap: seconds, and a number of task runs that does not follow the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks.overhead import is_allowed, measure
from tests.flows.whole import write_config

TENFOLD = (
    "source.train={grounding=240,ocr=120,counting=120}",
    "source.selection={grounding=120,ocr=60,counting=60}",
    "source.validation={grounding=120,ocr=60,counting=60}",
    "source.test={grounding=240,ocr=120,counting=120}",
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_times_the_samples_take_no_more_task_runs(tmp_path: Path) -> None:
    config, _ = write_config(tmp_path)
    small = measure(config, tmp_path / "small")
    large = measure(config, tmp_path / "large", *TENFOLD)
    assert large["task_runs"] - small["task_runs"] < 2, (small, large)
    assert is_allowed(small), small
    assert is_allowed(large), large
