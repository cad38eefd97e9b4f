"""Files of every format with a record in them that somebody damaged."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schemas.sources import (
    CocoSource,
    FolderSource,
    JsonlSource,
    LlavaSource,
    MessagesSource,
    ParquetSource,
    PerpoJsonSource,
    RefcocoSource,
    RowsSource,
)
from tests.perpo_core.cases import encode_noise
from tests.perpo_core.records import write_json, write_table

Build = Callable[[Path], RowsSource]
Record = dict[str, Any]
PNG = encode_noise(3)
LATIN = "caf\u00e9".encode("latin-1")
BOX = {"id": 9, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
IMAGE = {"id": 1, "file_name": "0.png", "width": 40, "height": 30}
CAT = {"id": 1, "name": "cat"}
REF = {"ref_id": 3, "ann_id": 9, "split": "val", "sentences": [{"sent": "cat"}]}
ROW = {"image": "0.png", "task": "grounding", "prompt": "Where?", "box": [1, 2, 3, 4]}
COUNT = {"image": "0.png", "task": "counting", "prompt": "How many?", "answer": 3}
PAGE = {"image": "0.png", "task": "ocr", "prompt": "Read.", "answer": "x"}
SEEN = {"image": "0.png", "sent": "cat", "bbox": [1, 2, 9, 9]}
LIST = {
    "image_id": 7, "image_path": "0.png", "question": "Where?", "answer": "[0.25, 0.5, 0.75, 1.0]",
    "answers_gen": ["x"], "iou_scores": [0.5],
}  # fmt: skip
SOURCES: dict[str, tuple[type[RowsSource], str]] = {
    "jsonl": (JsonlSource, "d.jsonl"),
    "coco": (CocoSource, "d.json"),
    "refcoco": (RefcocoSource, "d.jsonl"),
    "llava": (LlavaSource, "d.jsonl"),
    "messages": (MessagesSource, "d.jsonl"),
    "perpo-json": (PerpoJsonSource, "d.json"),
}


def raw(kind: str, content: str | bytes, **settings: Any) -> Build:
    """A file of just these bytes."""
    source, name = SOURCES[kind]

    def build(folder: Path) -> RowsSource:
        data = content if isinstance(content, bytes) else content.encode()
        (folder / name).write_bytes(data)
        return source(files=[folder / name], **settings)

    return build


def one(kind: str, record: Any, **settings: Any) -> Build:
    """A file with one record."""
    is_array = SOURCES[kind][1].endswith(".json")
    return raw(kind, json.dumps([record] if is_array else record), **settings)


def coco(annotations: Any, task: str = "grounding", **changes: Any) -> Build:
    of_file = {"images": [IMAGE], "annotations": annotations, "categories": [CAT]} | changes
    return raw("coco", json.dumps(of_file), task=task)


def refs(content: Any) -> Build:
    def build(folder: Path) -> RowsSource:
        write_json(folder / "instances.json", {"images": [IMAGE], "annotations": [BOX]})
        is_raw = isinstance(content, bytes)
        (folder / "d.p").write_bytes(content if is_raw else pickle.dumps(content, 2))
        return RefcocoSource(files=[folder / "d.p"])

    return build


def refer_to_itself() -> list[Any]:
    whole: list[Any] = []
    whole.append(whole)
    return whole


def talk(*turns: tuple[str, Any], **more: Any) -> Record:
    said = [{"from": who, "value": what} for who, what in turns]
    return {"image": "0.png", "conversations": said} | more


def ask(*turns: tuple[str, Any], **more: Any) -> Record:
    said = [{"role": who, "content": what} for who, what in turns]
    return {"images": ["0.png"], "messages": said} | more


def point_at(**objects: Any) -> Build:
    record = ask(("user", "Where?"), ("assistant", "<bbox>"), objects=objects)
    return one("messages", record, task="grounding")


def table(record: Record, **settings: Any) -> Build:
    return lambda folder: ParquetSource(
        files=[write_table(folder / "d.parquet", [record])], **settings
    )


def damage(change: Callable[[bytes], bytes]) -> Build:
    def build(folder: Path) -> RowsSource:
        file = write_table(folder / "d.parquet", [PAGE] * 50)
        file.write_bytes(change(file.read_bytes()))
        return ParquetSource(files=[file])

    return build


def pages(image: bytes = PNG, **texts: str | bytes) -> Build:
    """A folder with a.png and a text of each named kind."""

    def build(folder: Path) -> RowsSource:
        home = folder / "pages"
        home.mkdir()
        for kind, text in ({"png": image} | texts).items():
            (home / f"a.{kind}").write_bytes(text if isinstance(text, bytes) else text.encode())
        return FolderSource(files=[home])

    return build


def page(content: str) -> str:
    return f'<?xml version="1.0"?><PcGts xmlns="x"><Page>{content}</Page></PcGts>'
