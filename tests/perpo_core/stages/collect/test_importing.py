"""`perpo import`: any format as JSON Lines which gives the same samples."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.commands.cli import app
from perpo_core.stages.collect.importing import write_rows
from schemas.sources import CocoSource, JsonlSource, ParquetSource
from tests.perpo_core.cases import encode_noise
from tests.perpo_core.records import list_ids, write_json, write_noise, write_table

COCO = {
    "images": [{"id": n, "file_name": f"{n}.png", "width": 40, "height": 30} for n in range(3)],
    "annotations": [
        {"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": n == 2}
        for n in range(3)
    ],
    "categories": [{"id": 1, "name": "cat"}],
}


def make(number: int, **more: Any) -> dict[str, Any]:
    image = {"bytes": encode_noise(number), "path": None}
    return {"image": image, "task": "ocr", "prompt": "Read.", "answer": f"text {number}"} | more


def build_coco(folder: Path) -> CocoSource:
    write_noise(folder / "images", "0.png", "1.png", "2.png")
    return CocoSource(
        files=[write_json(folder / "ann" / "instances_val.json", COCO)],
        images=folder / "images",
        on_bad_row="drop",
    )


def test_embedded_images_become_files_once_each(tmp_path: Path) -> None:
    records = [make(0), make(1), make(0, prompt="Read it.")]
    source = ParquetSource(files=[write_table(tmp_path / "t.parquet", records)])
    to = tmp_path / "new" / "data.jsonl"
    done = write_rows(source, to)
    assert (done.num_rows, done.num_images, done.images) == (3, 2, None)
    assert len(list((tmp_path / "new" / "data-images").iterdir())) == 2
    assert list_ids(JsonlSource(files=[to])) == list_ids(source)


def test_a_data_url_cannot_say_where_its_file_goes(tmp_path: Path) -> None:
    row = {"image": "data:image/a/../../b;base64,aaaa", "task": "ocr", "prompt": "?", "answer": "a"}
    lines = [json.dumps(row), json.dumps(row | {"image": "data:image/png;base64,aaaa"})]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    source = JsonlSource(files=[tmp_path / "rows.jsonl"], on_bad_row="drop")
    done = write_rows(source, tmp_path / "new" / "data.jsonl")
    assert (done.num_rows, done.reasons) == (1, {"image missing": 1})
    assert len(list((tmp_path / "new" / "data-images").iterdir())) == 1


def test_images_beside_the_new_file_are_named_from_there(tmp_path: Path) -> None:
    source = build_coco(tmp_path)
    done = write_rows(source, tmp_path / "data.jsonl")
    assert done.images is None and done.reasons == {"crowd annotation": 1}
    assert list_ids(JsonlSource(files=[tmp_path / "data.jsonl"])) == list_ids(source)


def test_images_elsewhere_stay_there(tmp_path: Path) -> None:
    source = build_coco(tmp_path)
    to = tmp_path / "new" / "data.jsonl"
    done = write_rows(source, to)
    assert done.images == tmp_path / "images"
    assert list_ids(JsonlSource(files=[to], images=done.images)) == list_ids(source)


def test_nothing_is_left_where_it_fails(tmp_path: Path) -> None:
    source = build_coco(tmp_path).model_copy(update={"on_bad_row": "fail"})
    with pytest.raises(ValueError, match="annotation 2: annotation 2 is a crowd"):
        write_rows(source, tmp_path / "new" / "data.jsonl")
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "new" / "data.jsonl").write_text("mine")
    with pytest.raises(ValueError, match=r"data\.jsonl: it exists; remove it"):
        write_rows(source, tmp_path / "new" / "data.jsonl")


def test_the_command_says_what_it_did_and_what_to_write(tmp_path: Path) -> None:
    build_coco(tmp_path)
    (tmp_path / "new").mkdir()
    words = ["import", "coco", str(tmp_path / "ann" / "instances_val.json")]
    words += ["--to", str(tmp_path / "new" / "data.jsonl"), "--images", str(tmp_path / "images")]
    words += ["--prompt", "Find the {category}.", "--split", "*val*=test"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "2 rows are in" in result.output and "1 x crowd annotation, first" in result.output
    assert (
        f'[source]\nkind = "jsonl"\nfiles = ["data.jsonl"]\nimages = "{tmp_path}' in result.output
    )
    rows = [json.loads(line) for line in (tmp_path / "new" / "data.jsonl").open()]
    assert {(row["prompt"], row["split"]) for row in rows} == {("Find the cat.", "test")}


def test_names_of_any_letters_are_taken_and_told(tmp_path: Path) -> None:
    folder = tmp_path / "\U0001f600"
    build_coco(folder)
    words = ["import", "coco", str(folder / "ann" / "instances_val.json")]
    words += ["--to", str(tmp_path / "new" / "data.jsonl"), "--images", str(folder / "images")]
    result = CliRunner().invoke(app, [*words, "--split", "\U0001f600*=train", "--split", "*=test"])
    assert result.exit_code == 0, result.output
    said = tomllib.loads(result.output[result.output.index("[source]") :])
    assert said["source"]["images"] == str(folder / "images")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["coco", "gone.json"], "gone.json: there is no such file"),
        (["yolo", "x"], 'source.kind = "yolo" is not allowed; allowed: "digits" or "jsonl"'),
        (["coco", "x", "--task", "ocr"], 'source.task = "ocr" is not allowed'),
        (["folder", "x", "--task", "ocr"], "unknown key source.task"),
        (["refcoco", "x", "--prompt", "Where?"], "lacks {expression}"),
        (["parquet", "x", "--column", "prompt"], "--column prompt: write it as KEY=VALUE"),
        (["digits", "x"], "unknown key source.files"),
    ],
)
def test_a_wrong_use_is_said_in_one_sentence(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["import", *words, "--to", "data.jsonl"])
    assert result.exit_code == 2 and said in result.output
    assert not (tmp_path / "data.jsonl").exists()
