"""Where outside rewards are asked, and where what they leave takes their place."""

from __future__ import annotations

from typing import Any

import pytest

from perpo_core.perception.judging import Judgement, without_outside
from perpo_core.stages.outside import require_judged
from schemas.config import RefreshConfig, ScoreConfig

JUDGE = {"model": "m", "instruction": "judge.txt"}


def build_score(mode: str, **weights: float) -> ScoreConfig:
    table: dict[str, Any] = {
        "reward": {"judge": 1.0, **weights},
        "options": {"judge": {**JUDGE, "mode": mode}},
    }
    return RefreshConfig.model_validate({"score": {"grounding": table, "vqa": table}}).score


def test_order_leaves_the_rest_of_its_mixture_or_the_measure() -> None:
    left = without_outside(build_score("order", giou=0.5), only_order=True)
    assert left.grounding.weights == {"giou": 0.5} and not left.grounding.options  # type: ignore[union-attr]
    alone = without_outside(build_score("order", format=0.0), only_order=True)
    assert (alone.grounding, alone.vqa) == ("iou", "vqa_accuracy")  # type: ignore[attr-defined]


def test_a_judge_of_single_answers_stays_where_policies_are_compared() -> None:
    score = build_score("score", giou=0.5)
    assert without_outside(score, only_order=True) is score
    assert without_outside(score).grounding.weights == {"giou": 0.5}  # type: ignore[union-attr]


def test_policies_are_not_compared_by_answers_that_nobody_judged() -> None:
    judged = Judgement(1.0, 1.0, {}, None, None)
    unread = Judgement(None, 0.0, {}, None, "no number", "answer")
    failed = Judgement(None, 0.0, {}, None, "not judged: RuntimeError", "reward")
    require_judged([judged, unread, failed])
    missing = Judgement(None, 0.0, {}, None, "not judged: status 503", "server")
    with pytest.raises(ValueError, match="1 of 2 answers have no reward, the first: not judged"):
        require_judged([judged, missing])
