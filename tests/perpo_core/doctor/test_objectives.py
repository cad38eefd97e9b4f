"""What an objective asks of other sections is one sentence before any work."""

from __future__ import annotations

from typing import Any

import pytest

from perpo_core.doctor.settings import check_settings
from schemas.config import RefreshConfig


def find(level: str, **sections: Any) -> list[str]:
    findings = check_settings(RefreshConfig.model_validate(sections))
    return [finding.what for finding in findings if finding.level == level]


TWO = {"ocr": {"reward": {"edit_similarity": 1.0, "cer": 0.0}}}
ROSEPO = {"objective": "rosepo"}
COLUMN = ROSEPO | {"smoothing": "column", "smoothing_column": "cer"}


@pytest.mark.parametrize(
    ("train", "score"),
    [
        (ROSEPO, TWO),
        (ROSEPO | {"smoothing_slope": 3.0}, {}),
        (COLUMN, TWO),
        (COLUMN | {"objective": "dpo"}, {}),
    ],
)
def test_smoothing_that_can_be_had(train, score):
    assert find("error", train=train, score=score) == []


@pytest.mark.parametrize(
    ("train", "score", "sentence"),
    [
        (
            ROSEPO,
            {"ocr": {"reward": {"edit_similarity": 1.0}}},
            "configuration: train.objective = rosepo fits its smoothing to second rewards, and no "
            "task in [score] has one; give a task of [score] another second reward (a weight of 0 "
            "adds nothing to the total), or set train.smoothing_slope",
        ),
        (
            COLUMN,
            {},
            "configuration: train.smoothing_column = cer is no reward of any task in [score]; name "
            "it there, where a weight of 0 adds nothing to the total",
        ),
    ],
)
def test_smoothing_that_cannot(train, score, sentence):
    assert find("error", train=train, score=score) == [sentence]
