"""What docs/night.md claims is proved by tests that exist; tables say what the code declares."""

from __future__ import annotations

import re
from pathlib import Path

from tests.objectives_table import build_table

ROOT = Path(__file__).parents[1]
NIGHT = (ROOT / "docs" / "night.md").read_text()


def test_every_row_of_the_night_names_a_test_that_exists() -> None:
    rows = [line for line in NIGHT.splitlines() if line.startswith("| ")][2:]
    for row in rows:
        named = re.findall(r"`(\w+\.py)::(\w+)`", row.split("|")[-2])
        assert named, row
        for file, test in named:
            [path] = ROOT.glob(f"tests/**/{file}")
            assert f"def {test}(" in path.read_text(), f"{file} has no {test}"


def test_the_table_of_objectives_is_what_they_declare() -> None:
    """`python -m tests.objectives_table` prints it."""
    assert build_table() in (ROOT / "docs" / "objectives.md").read_text()
