"""Rows that ask for any number of boxes, from a file to samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpo_core.stages.collect.sources.rows_source import iterate_samples
from perpo_core.store.keys import compute_sample_id
from tests.perpo_core.cases import make_row, write_source


def ask(**truth: Any) -> dict[str, Any]:
    row = make_row(task="detection", box=None, **truth)
    return {key: value for key, value in row.items() if value is not None and key != "box_format"}


def read(folder: Path, *rows: Any) -> list[Any]:
    source = write_source(folder, rows, num_images=1)
    return [row for row in iterate_samples(source) if isinstance(row, dict)]


def test_boxes_and_none_are_truths(tmp_path: Path) -> None:
    some, none, norm = read(
        tmp_path,
        ask(boxes=[[4, 3, 20, 15], [20, 15, 40, 30]]),
        ask(boxes=[], prompt="Find all cats."),
        ask(boxes_norm=[[0.1, 0.1, 0.5, 0.5]], prompt="Find all dogs."),
    )
    assert some["target"]["boxes"] == [[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]
    assert none["target"]["boxes"] == []
    assert norm["target"]["boxes"] == [pytest.approx([0.1, 0.1, 0.5, 0.5])]
    for row in (some, none, norm):
        assert row["sample_id"] == compute_sample_id(row["prompt_id"], row["target"])
        assert [row["target"][key] for key in ("box", "text", "count")] == [None, None, None]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (ask(bboxes=[[4, 3, 20, 15]]), "in a detection row all boxes as boxes"),
        (ask(bbox=[[4, 3, 20, 15]]), 'the row has "bbox": write it as "boxes"'),
        (ask(boxes=[[4, 3, 90, 15]]), "boxes item 1: box [4, 3, 90, 15] reaches 50 pixels outside"),
        (ask(boxes=[], answer="none"), "answer beside task detection is not read"),
        (make_row(boxes=[[4, 3, 20, 15]]), "boxes beside task grounding is not read: it is the "
         "truth of task detection; give the one box as box, or remove boxes"),
    ],
)  # fmt: skip
def test_what_is_no_such_row_is_refused_in_a_sentence(
    tmp_path: Path, row: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=r"cases\.jsonl row 1") as refused:
        read(tmp_path, row)
    assert sentence in str(refused.value)
