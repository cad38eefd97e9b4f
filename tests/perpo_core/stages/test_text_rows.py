"""Rows of vqa, extraction and table from their file to a judgement: what is true is worth 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpo_core.perception.boxes import Frame
from perpo_core.perception.judging import Item, Judge
from perpo_core.stages.collect.sources.rows_source import iterate_samples
from schemas.config import ScoreConfig
from tests.perpo_core.cases import make_row, write_source

HTML = "<table><tr><th>item</th><th>price</th></tr><tr><td>tea</td><td>4</td></tr></table>"
VOTES = ["yes"] * 2 + ["no"] * 8


def judge(
    folder: Path, row: dict[str, Any], said: str, score: ScoreConfig | None = None
) -> float | None:
    source = write_source(folder, [make_row(box=None, box_format=None, **row)])
    (sample,) = iterate_samples(source)
    assert isinstance(sample, dict)
    item = Item(said, sample["task"], sample["target"], Frame(sample["width"], sample["height"]))
    return Judge(score or ScoreConfig(), "norm1").judge(item).reward


@pytest.mark.parametrize(
    ("row", "answer", "reward"),
    [
        ({"task": "vqa", "answers": ["Coca Cola", "coke"]}, "Coke.", 1),
        ({"task": "vqa", "answers": ["Coca Cola", "coke"]}, "Pepsi", 0),
        ({"task": "vqa", "answers": VOTES}, "yes", 0.6),
        ({"task": "vqa", "answer": ["red", "blue"]}, "blue", 1),
        ({"task": "vqa", "answer": 3}, "three", 1),
        ({"task": "extraction", "answer": {"total": 4, "shop": "Rose"}}, '{"total": 4.0}', 2 / 3),
        ({"task": "extraction", "answer": [{"a": 1}, {"a": 2}]}, '{"a": 2}', 1),
        ({"task": "table", "answer": HTML}, "|item|price|\n|-|-|\n|tea|4|", 1),
        ({"task": "table", "answer": HTML}, "|item|price|\n|-|-|", 1 - 4 / 8),
        ({"task": "table", "answer": HTML}, "tea costs 4", None),
    ],
)
def test_a_row_is_judged_as_its_task_says(
    tmp_path: Path, row: dict[str, Any], answer: str, reward: float | None
) -> None:
    assert judge(tmp_path, row, answer) == (reward if reward is None else pytest.approx(reward))


def test_parts_and_options_of_a_mixture(tmp_path: Path) -> None:
    table = {
        "reward": {"anls": 1.0, "vqa_accuracy": 0.5},
        "options": {"anls": {"threshold": 0.8}},
    }
    score = ScoreConfig.model_validate({"vqa": table})
    row = {"task": "vqa", "answers": ["Coca Cola", "coke"]}
    assert judge(tmp_path, row, "coke", score) == 1.5
    assert judge(tmp_path, row, "coka", score) == 0
