"""RefCOCO in the forms in use: the official pickles, Parquet and JSON; official splits."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from schemas.sources import RefcocoSource
from tests.perpo_core.cases import encode_noise
from tests.perpo_core.records import (
    collect,
    convert,
    count_reasons,
    write_json,
    write_lines,
    write_noise,
    write_table,
)

SPLITS = ["train", "val", "testA", "testB", "test"]
OURS = ["train", "validation", "test", "test", "test"]


def refer(number: int, split: str, *texts: str) -> dict[str, Any]:
    """A reference as the pickles have it."""
    return {
        "ref_id": number, "ann_id": 100 + number, "image_id": number, "split": split,
        "category_id": 1, "file_name": f"COCO_train2014_{number:012}_{number}.jpg",
        "sent_ids": list(range(len(texts))),
        "sentences": [
            {"sent": text, "raw": text.upper(), "sent_id": n, "tokens": text.split()}
            for n, text in enumerate(texts)
        ],
    }  # fmt: skip


REFS = [refer(n, split, "the cat", f"cat {n}") for n, split in enumerate(SPLITS)]


def build(folder: Path, refs: Any = REFS, protocol: int = 2, **settings: Any) -> RefcocoSource:
    names = [f"COCO_train2014_{n:012}.png" for n in range(len(SPLITS))]
    write_noise(folder / "images", *names)
    images = [
        {"id": n, "file_name": name, "width": 40, "height": 30} for n, name in enumerate(names)
    ]
    annotations = [
        {"id": 100 + n, "image_id": n, "category_id": 1, "bbox": [n, 2.5, 10.25, 5]}
        for n in range(len(names))
    ]
    write_json(folder / "instances.json", {"images": images, "annotations": annotations})
    file = folder / "refs(unc).p"
    file.write_bytes(pickle.dumps(refs, protocol=protocol))
    return RefcocoSource(files=[file], images=folder / "images", **settings)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_row_for_each_expression_with_the_official_split(tmp_path: Path, protocol: int) -> None:
    source = build(tmp_path, protocol=protocol, prompt="Where is {expression}?")
    rows = convert(source)
    assert [row["split"] for row in rows] == [split for split in OURS for _ in range(2)]
    assert rows[3]["prompt"] == "Where is cat 1?"
    assert rows[3]["box"] == [1, 2.5, 11.25, 7.5]
    assert rows[3]["image"] == "COCO_train2014_000000000001.png", "not the name with the ann id"
    assert len(collect(source.model_copy(update={"selection_share": 0.0}))) == 10


def test_an_expression_that_people_gave_twice_is_asked_once(tmp_path: Path) -> None:
    source = build(tmp_path, [refer(1, "val", "left cat", "left cat ", "cat")])
    assert [row["prompt"].rpartition(": ")[2] for row in convert(source)] == ["left cat", "cat"]
    assert count_reasons(source) == {"expression given twice": 1}
    assert len(collect(source)) == 2, "and nothing is wrong with it"


class _Evil:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(
    tmp_path: Path, protocol: int
) -> None:
    source = build(tmp_path, [_Evil(tmp_path / "made")], protocol)
    with pytest.raises(ValueError, match="mkdir") as caught:
        convert(source)
    assert "nothing of it was run" in str(caught.value)
    assert not (tmp_path / "made").exists()
    pickle.loads(pickle.dumps(_Evil(tmp_path / "made"), protocol))
    assert (tmp_path / "made").exists(), "the pickle would have done it"


def test_a_text_of_python_2_is_a_text(tmp_path: Path) -> None:
    """RefCOCO's pickles were written by Python 2, whose plain texts are bytes."""
    source = build(tmp_path)
    source.files[0].write_bytes(
        b"(lp0\n(dp1\nS'ref_id'\nI1\nsS'ann_id'\nI101\nsS'split'\nS'testA'\nsS'sentences'\n"
        b"(lp2\n(dp3\nS'sent'\nS'caf\\xc3\\xa9 cat'\nsasa."
    )
    [row] = convert(source)
    assert (row["prompt"].rpartition(": ")[2], row["split"]) == ("caf\u00e9 cat", "test")


def test_lmms_lab_parquet(tmp_path: Path) -> None:
    rows = [
        {
            "question_id": str(n), "question": "Please observe ...",
            "image": {"bytes": encode_noise(n), "path": f"{n}.png"},
            "answer": [f"cat {n}", "the cat"], "bbox": [1.0, 2.0, 10.5, 5.0],
            "segmentation": [1.0], "iscrowd": 0, "file_name": f"{n}.jpg",
        }
        for n in range(2)
    ]  # fmt: skip
    for split in ("val", "testA", "testB"):
        write_table(tmp_path / "RefCOCO" / "data" / f"{split}-00000-of-00001-ab.parquet", rows)
    source = RefcocoSource(files=[tmp_path / "RefCOCO"])
    found = convert(source)
    assert [row["split"] for row in found] == ["test"] * 8 + ["validation"] * 4
    assert found[0]["box"] == [1, 2, 11.5, 7]
    assert found[0]["image"].startswith("data:image/png;base64,")
    kept = RefcocoSource(files=[tmp_path / "RefCOCO/data/val-00000-of-00001-ab.parquet"])
    assert len(collect(kept)) == 4


def test_jxu124_parquet(tmp_path: Path) -> None:
    write_noise(tmp_path, "COCO_train2014_1.png")
    info = {"file_name": "COCO_train2014_1.png", "width": 40, "height": 30}
    rows = [
        refer(n, split, "the cat")
        | {
            "raw_anns": json.dumps({"bbox": [1, 2, 10, 5], "iscrowd": 0}),
            "raw_image_info": json.dumps(info), "bbox": [1.0, 2.0, 11.0, 7.0],
            "image_path": "coco/train2014/COCO_train2014_1.png", "captions": ["the cat"],
        }
        for n, split in enumerate(SPLITS[:2])
    ]  # fmt: skip
    source = RefcocoSource(files=[write_table(tmp_path / "train-00000-of-00001.parquet", rows)])
    found = convert(source)
    assert [(row["image"], row["box"], row["split"]) for row in found] == [
        ("COCO_train2014_1.png", [1, 2, 11, 7], "train"),
        ("COCO_train2014_1.png", [1, 2, 11, 7], "validation"),
    ]


@pytest.mark.parametrize(
    ("name", "record", "split"),
    [
        ("refcoco_val.jsonl",
         {"image": "1.png", "sent": "cat", "bbox": [1, 2, 11, 7]}, "validation"),
        ("REC_refcoco+_unc_testB.jsonl",
         {"img_path": "1.png", "expression": "cat", "bbox": [1, 2, 11, 7]}, "test"),
        ("refcocog_train.json",
         {"image": "1.png", "problem": "Please ... this sentence describes: cat",
          "normal_caption": "cat", "solution": [1, 2, 11, 7]}, "train"),
    ],
)  # fmt: skip
def test_json_forms_have_corners(
    name: str, record: dict[str, Any], split: str, tmp_path: Path
) -> None:
    write_noise(tmp_path, "1.png")
    write = write_json if name.endswith("json") else write_lines
    source = RefcocoSource(files=[write(tmp_path / name, [record])], prompt="Find {expression}.")
    [row] = convert(source)
    assert (row["prompt"], row["box"], row["split"]) == ("Find cat.", [1, 2, 11, 7], split)
    assert len(collect(source)) == 1
