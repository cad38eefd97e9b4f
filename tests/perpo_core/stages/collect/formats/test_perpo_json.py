"""The official PerPO JSON as a source: prompts and truths, without the answers of its policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.commands.cli import app
from schemas.sources import JsonlSource, PerpoJsonSource
from tests.perpo_core.records import collect, convert, list_ids, write_json, write_noise

Record = dict[str, Any]


def make(**changes: Any) -> Record:
    record = {
        "image_id": 7, "image_path": "0.png", "question": "Where is the cat?",
        "answer": "[0.25, 0.5, 0.75, 1.0]", "answers_gen": ["[0, 0, 1, 1]", "[0, 0, 1, 0.5]"],
        "iou_scores": [0.5, 0.0],
    }  # fmt: skip
    return record | changes


def write(folder: Path, *records: Any) -> Path:
    write_noise(folder, "0.png", "images/1.png")
    return write_json(folder / "data.json", list(records))


def test_a_record_is_a_row_without_its_answers(tmp_path: Path) -> None:
    file = write(tmp_path, make(split="val", page=3), make(answer="Chapter 3", question="Read."))
    own, box = {"image_id": 7, "image": "0.png"}, [0.25, 0.5, 0.75, 1.0]
    first, second = convert(PerpoJsonSource(files=[file], licence="CC0"))
    assert first == own | {
        "task": "grounding", "prompt": "Where is the cat?", "box_norm": box, "page": 3,
        "split": "validation", "licence": "CC0",
    }  # fmt: skip
    assert second == own | {
        "task": "ocr", "prompt": "Read.", "answer": "Chapter 3", "licence": "CC0",
    }  # fmt: skip
    [row, _] = collect(PerpoJsonSource(files=[file]))
    assert row["target"]["box"] == box and row["split"] == "validation"


def test_a_task_is_that_of_the_record_or_else_of_the_source(tmp_path: Path) -> None:
    file = write(tmp_path, make(answer="3"), make(answer="cat", task="vqa", question="What is it?"))
    [count, word] = collect(PerpoJsonSource(files=[file], task="counting"))
    assert count["target"]["count"] == 3 and word["task"] == "vqa"


def test_a_question_goes_where_the_prompt_has_it(tmp_path: Path) -> None:
    file = write(tmp_path, make())
    source = PerpoJsonSource(files=[file], prompt="{question} Answer with a box.")
    assert convert(source)[0]["prompt"] == "Where is the cat? Answer with a box."
    with pytest.raises(ValueError, match=r"lacks \{question\}; put it where it goes"):
        PerpoJsonSource(files=[file], prompt="Where?")


def test_images_are_named_from_their_folder_or_from_the_file(tmp_path: Path) -> None:
    here = write(tmp_path / "a", make(image_path="images/1.png"))
    there = write(tmp_path / "b", make(image_path="images/1.png", question="Where is it?"))
    [first], [second] = (collect(PerpoJsonSource(files=[file])) for file in (here, there))
    in_folder = collect(PerpoJsonSource(files=[tmp_path]))
    assert [row["prompt_id"] for row in in_folder] == [first["prompt_id"], second["prompt_id"]]
    alone = write_json(tmp_path / "c.json", [make(image_path="1.png")])
    [row] = collect(PerpoJsonSource(files=[alone], images=tmp_path / "a" / "images"))
    assert row["prompt_id"] == first["prompt_id"]


def test_perpo_import_counts_rows_reasons_and_answers(tmp_path: Path) -> None:
    short = make(answers_gen=["x"])
    file = write(tmp_path, make(), short, make(answer="Chapter 3", question="Read."))
    to = tmp_path / "data.jsonl"
    result = CliRunner().invoke(app, ["import", "perpo-json", str(file), "--to", str(to)])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "2 rows are in" in said
    assert "4 answers with their rewards were left out: the policy that is trained samples" in said
    assert "1 x malformed row, first" in said
    assert "data.json row 2: 1 answers_gen and 2 iou_scores; a record has image_id" in said
    source = PerpoJsonSource(files=[file], on_bad_row="drop")
    assert list_ids(JsonlSource(files=[to])) == list_ids(source)
