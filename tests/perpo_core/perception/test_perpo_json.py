"""The official PerPO JSON: out and in again unchanged, and every way in which it can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perpo_core.perception.perpo_json import (
    PerpoRecord,
    build_row,
    iterate_records,
    parse_box,
    write_truth,
)

# The shape of assets/data.json of github.com/ningerhhh/PerPO at e39a24a, with numbers of our own.
RECORD: dict[str, Any] = {
    "image_id": 580344,
    "image_path": "COCO/train2014/COCO_train2014_000000580344.jpg",
    "question": "Please provide the bounding box coordinate of the region this sentence describes: "
    "glass behind burger",
    "answer": "[0.61, 0.1, 0.77, 0.54]",
    "answers_gen": ["[0.62, 0.11, 0.77, 0.53]", "[0.6, 0.0, 0.8, 0.5]", "[0.0, 0.0, 0.1, 0.1]"],
    "iou_scores": [0.8003, 0.7, 0],
}


def write(path: Path, content: object) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_in_and_out_again_it_is_unchanged(tmp_path: Path) -> None:
    records = [RECORD, {**RECORD, "image_id": "page-7", "question": "Read \u00e9.", "mine": [1]}]
    read = list(iterate_records(write(tmp_path / "data.json", records)))
    assert json.dumps([record.model_dump() for record in read]) == json.dumps(records)
    assert read[0].ranked_answers == list(
        zip(RECORD["answers_gen"], RECORD["iou_scores"], strict=True)
    )


def test_a_record_becomes_a_row() -> None:
    assert build_row(PerpoRecord(**RECORD)) == {
        "task": "grounding", "image": RECORD["image_path"], "prompt": RECORD["question"],
        "box_norm": [0.61, 0.1, 0.77, 0.54],
    }  # fmt: skip
    page = PerpoRecord(**{**RECORD, "answer": "Chapter 3"})
    assert build_row(page)["task"] == "ocr" and build_row(page)["answer"] == "Chapter 3"
    assert build_row(page, task="counting")["task"] == "counting"


@pytest.mark.parametrize(
    ("task", "answer", "truth"),
    [
        ("grounding", "[0.61, 0.1, 0.77, 0.54]", {"box_norm": [0.61, 0.1, 0.77, 0.54]}),
        ("detection", "[[0, 0.26, 1, 1]]", {"boxes_norm": [[0, 0.26, 1, 1]]}),
        ("detection", "[]", {"boxes_norm": []}),
        ("pointing", "[0.61, 0.1]", {"point_norm": [0.61, 0.1]}),
        ("pointing", "[0, 0.26, 1, 1]", {"box_norm": [0, 0.26, 1, 1]}),
        ("ocr", "[0, 0.26, 1, 1]", {"answer": "[0, 0.26, 1, 1]"}),
    ],
)
def test_a_named_task_reads_its_own_truth(task: Any, answer: str, truth: Any) -> None:
    row = build_row(PerpoRecord(**{**RECORD, "answer": answer}), task=task)
    assert {key: value for key, value in row.items() if key not in ("image", "prompt")} == {
        "task": task, **truth,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("task", "answer"),
    [("grounding", "the cat"), ("grounding", "[0.1, 0.2]"), ("detection", "[0, 0, 1, 1]"),
     ("detection", "[[0, 0, 1]]"), ("pointing", "[1]"), ("pointing", "3")],
)  # fmt: skip
def test_a_truth_of_another_task_is_refused(task: Any, answer: str) -> None:
    with pytest.raises(ValueError, match="is no truth of task") as refusal:
        build_row(PerpoRecord(**{**RECORD, "answer": answer}), task=task)
    assert str(refusal.value).startswith(f'answer "{answer}" is no truth of task {task}, which')


@pytest.mark.parametrize("answer", ["[1, 2, 3]", "(1, 2, 3, 4)", "a", "[1, 2, 3, 'x']", "[" * 999])
def test_an_answer_that_is_not_four_numbers_is_no_box(answer: str) -> None:
    assert parse_box(answer) is None


@pytest.mark.parametrize(
    ("truth", "written"),
    [
        ({"box": [0.614, 0.1, 0.7666, 0.54]}, "[0.61, 0.1, 0.77, 0.54]"),
        ({"box": [0.614, 0.1]}, "[0.61, 0.1]"),
        ({"text": "a b"}, "a b"),
        ({"count": 3}, "3"),
        ({"boxes": [[0, 0.256, 1, 1]]}, "[[0, 0.26, 1, 1]]"),
        ({"boxes": []}, "[]"),
    ],
)
def test_truths_are_written_in_the_official_words(truth: Any, written: str) -> None:
    assert write_truth({"box": None, "text": None, "count": None, **truth}) == written


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "what follows record 0 is no JSON"),
        ("{}", "holds no record; it has to be one JSON array"),
        ("[]", "holds no record"),
        (json.dumps([RECORD])[:-20], "what follows record 0 is no JSON"),
        (json.dumps([RECORD]) + "x", "what follows record 1 is no JSON"),
        ([3], "record 1: 3 is no record; a record has"),
        ([RECORD, {**RECORD, "iou_scores": [1.0]}], "record 2: 3 answers_gen and 1 iou_scores; "),
        ([{**RECORD, "answers_gen": [1, 2, 3]}], "record 1: answers_gen.0 1 is no text; a rec"),
        (
            [{**RECORD, "iou_scores": ["0.8", 0, 0]}],
            'record 1: iou_scores.0 "0.8" is no finite number; ',
        ),
        ([{k: v for k, v in RECORD.items() if k != "question"}], "record 1: question is missing; "),
        ([{**RECORD, "answers_gen": "x"}], 'record 1: answers_gen "x" is no list; a record has'),
        ([{**RECORD, "image_id": None}], "record 1: image_id null is neither a whole number nor"),
        ('[{"iou_scores": [NaN]}]', "what follows record 0 is no JSON"),
    ],
)
def test_a_wrong_file_is_one_sentence_with_file_and_record(content, said, tmp_path) -> None:
    path = write(tmp_path / "data.json", content)
    with pytest.raises(ValueError, match=r"data\.json") as refusal:
        list(iterate_records(path))
    assert said in str(refusal.value) and len(str(refusal.value).splitlines()) == 1
