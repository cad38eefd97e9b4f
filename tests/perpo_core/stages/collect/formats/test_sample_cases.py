"""The sample cases give the same samples in every format as they do as JSON Lines."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perpo_core.stages.collect.importing import write_rows
from schemas.sources import (
    CocoSource,
    JsonlSource,
    LlavaSource,
    MessagesSource,
    ParquetSource,
    RefcocoSource,
    RowsSource,
)
from tests.perpo_core.records import list_ids, write_json, write_lines, write_table

SAMPLES = Path(__file__).parents[6] / "shared" / "samples"
pytestmark = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason=f"there are no sample cases in {SAMPLES}"
)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def photos() -> list[Row]:
    return _load("grounding")


@pytest.fixture(scope="module")
def lines() -> list[Row]:
    return _load("ocr_lines")[:30]


@pytest.fixture(scope="module")
def photo_ids() -> list[str]:
    return list_ids(JsonlSource(files=[SAMPLES / "grounding" / "cases.jsonl"]))


@pytest.fixture(scope="module")
def line_ids(lines: list[Row], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    file = write_lines(tmp_path_factory.mktemp("lines") / "cases.jsonl", lines)
    return list_ids(JsonlSource(files=[file], images=SAMPLES / "ocr_lines"))


def _load(name: str) -> list[Row]:
    return [json.loads(line) for line in (SAMPLES / name / "cases.jsonl").open()]


def _number_images(rows: list[Row]) -> dict[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(r["image"] for r in rows))}


def _to_xywh(row: Row) -> list[float]:
    x1, y1, x2, y2 = row["box"]
    return [x1, y1, x2 - x1, y2 - y1]


def _list_images(rows: list[Row]) -> list[Row]:
    sizes = {row["image"]: (row["width"], row["height"]) for row in rows}
    numbers = _number_images(rows)
    return [
        {"id": numbers[name], "file_name": name, "width": width, "height": height}
        for name, (width, height) in sizes.items()
    ]


def _annotate(rows: list[Row]) -> list[Row]:
    numbers = _number_images(rows)
    return [
        {"id": n, "image_id": numbers[r["image"]], "category_id": n, "bbox": _to_xywh(r)}
        for n, r in enumerate(rows)
    ]


def as_coco(rows: list[Row], folder: Path) -> RowsSource:
    """Each phrase a category of its own."""
    content = {
        "images": _list_images(rows),
        "annotations": _annotate(rows),
        "categories": [{"id": n, "name": row["prompt"]} for n, row in enumerate(rows)],
    }
    return CocoSource(files=[write_json(folder / "coco.json", content)], prompt="{category}")


def as_refs(rows: list[Row], folder: Path) -> RowsSource:
    content = {"images": _list_images(rows), "annotations": _annotate(rows)}
    write_json(folder / "instances.json", content)
    refs = [
        {"ref_id": n, "ann_id": n, "split": "train", "sentences": [{"sent": row["prompt"]}]}
        for n, row in enumerate(rows)
    ]
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, 2))
    return RefcocoSource(files=[folder / "refs(unc).p"], prompt="{expression}")


def as_ref_table(rows: list[Row], folder: Path) -> RowsSource:
    records = [
        {"image": _embed(row, "grounding"), "answer": [row["prompt"]], "bbox": _to_xywh(row)}
        for row in rows
    ]
    file = write_table(folder / "val-00000-of-00001.parquet", records)
    return RefcocoSource(files=[file], prompt="{expression}")


def as_llava(rows: list[Row], folder: Path) -> RowsSource:
    records = [
        {
            "id": row["id"], "image": row["image"],
            "conversations": [
                {"from": "human", "value": f"<image>\n{row['prompt']}"},
                {"from": "gpt", "value": str(row["box"]) if "box" in row else row["answer"]},
            ],
        }
        for row in rows
    ]  # fmt: skip
    task = rows[0]["task"]
    file = write_json(folder / "llava.json", records)
    return LlavaSource(files=[file], task=task, box_format="pixels")


def as_messages(rows: list[Row], folder: Path) -> RowsSource:
    records = [
        {
            "messages": [
                {"role": "user", "content": f"<image>{row['prompt']}"},
                {"role": "assistant", "content": "<bbox>" if "box" in row else row["answer"]},
            ],
            "images": [row["image"]],
            "objects": {"ref": [], "bbox": [row["box"]]} if "box" in row else None,
        }
        for row in rows
    ]
    file = write_lines(folder / "chat.jsonl", records)
    return MessagesSource(files=[file], task=rows[0]["task"])


def as_table(rows: list[Row], folder: Path) -> RowsSource:
    name = "grounding" if rows[0]["task"] == "grounding" else "ocr_lines"
    kept = ("task", "prompt", "answer", "box")
    records = [
        {key: row[key] for key in kept if key in row} | {"picture": _embed(row, name)}
        for row in rows
    ]
    file = write_table(folder / "rows.parquet", records)
    return ParquetSource(files=[file], columns={"image": "picture"})


def _embed(row: Row, name: str) -> Row:
    return {"bytes": (SAMPLES / name / row["image"]).read_bytes(), "path": row["image"]}


@pytest.mark.parametrize("write", [as_coco, as_refs, as_ref_table, as_llava, as_messages, as_table])
def test_photos(
    write: Callable[[list[Row], Path], RowsSource],
    photos: list[Row],
    photo_ids: list[str],
    tmp_path: Path,
) -> None:
    source = write(photos, tmp_path)
    source = source.model_copy(update={"images": SAMPLES / "grounding"})
    assert len(photo_ids) == len(photos) == 109
    assert list_ids(source) == photo_ids
    write_rows(source, tmp_path / "new" / "rows.jsonl")
    images = None if write in (as_ref_table, as_table) else SAMPLES / "grounding"
    again = JsonlSource(files=[tmp_path / "new" / "rows.jsonl"], images=images)
    assert list_ids(again) == photo_ids, "and so does what perpo import writes"


@pytest.mark.parametrize("write", [as_llava, as_messages, as_table])
def test_lines(
    write: Callable[[list[Row], Path], RowsSource],
    lines: list[Row],
    line_ids: list[str],
    tmp_path: Path,
) -> None:
    source = write(lines, tmp_path)
    source = source.model_copy(update={"images": SAMPLES / "ocr_lines"})
    assert list_ids(source) == line_ids
