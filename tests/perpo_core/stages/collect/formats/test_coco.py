"""COCO files: boxes by category, counts, captions; what cannot be asked is counted."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from perpo_core.stages.collect.sources.formats.json_items import WINDOW_CHARACTERS
from perpo_core.stages.collect.sources.jsonl_content import iterate_lines
from schemas.sources import CocoSource
from tests.perpo_core.records import collect, convert, count_reasons, write_json, write_noise


def annotate(number: int, image: int, category: int, bbox: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": number, "image_id": image, "category_id": category, "bbox": bbox, "iscrowd": 0,
        "area": 1.0, "segmentation": [[1, 2, 3, 4]],
    } | more  # fmt: skip


CAT, DOG = 17, 18
IMAGES = [
    {
        "id": 7,
        "file_name": "7.png",
        "width": 40,
        "height": 30,
        "license": 4,
        "coco_url": "http://x",
    },
    {"id": 3, "file_name": "3.png", "width": 40, "height": 30},
    {"id": 5, "file_name": "5.png", "width": 40, "height": 30},
]
ANNOTATIONS = [
    annotate(1, 3, DOG, [1, 2, 3, 4]),
    annotate(2, 7, CAT, [1.1, 2.2, 10.1, 5.7]),
    annotate(3, 7, DOG, [0, 0, 5, 5]),
    annotate(4, 7, DOG, [10, 10, 5, 5]),
    annotate(5, 3, CAT, {"counts": [1], "size": [30, 40]}, iscrowd=1),
]
COCO = {
    "info": {"year": 2017},
    "images": IMAGES,
    "annotations": ANNOTATIONS,
    "licenses": [{"id": 4, "name": "CC BY 2.0"}],
    "categories": [{"id": CAT, "name": "cat"}, {"id": DOG, "name": "dog", "supercategory": "x"}],
}


def build(folder: Path, content: Any = COCO, **settings: Any) -> CocoSource:
    write_noise(folder, "7.png", "3.png", "5.png")
    return CocoSource(files=[write_json(folder / "instances_val2017.json", content)], **settings)


def test_grounding_asks_for_what_is_alone_of_its_kind(tmp_path: Path) -> None:
    source = build(tmp_path, splits={"*val2017*": "test"}, on_bad_row="drop")
    cat, dog = convert(source)
    assert cat["prompt"].endswith("this sentence describes: cat")
    assert (cat["image"], cat["box"], cat["licence"]) == (
        "7.png",
        [1.1, 2.2, 11.2, 7.9],
        "CC BY 2.0",
    )
    assert (dog["image"], dog["box"], dog["split"]) == ("3.png", [1, 2, 4, 6], "test")
    assert count_reasons(source) == {
        "category not alone in its image": 2,
        "crowd annotation": 1,
        "image without annotations": 1,
    }
    assert [row["split"] for row in collect(source)] == ["test", "test"]


def test_what_the_task_does_not_ask_about_is_no_mistake(tmp_path: Path) -> None:
    content = COCO | {"annotations": ANNOTATIONS[:4]}
    assert len(collect(build(tmp_path, content))) == 2, "on_bad_row = fail does not end it"
    with pytest.raises(ValueError, match="annotation 5: annotation 5 is a crowd"):
        collect(build(tmp_path))


def test_detection_asks_for_all_of_a_kind(tmp_path: Path) -> None:
    source = build(tmp_path, task="detection", prompt="Where is each {category}?")
    rows = convert(source)
    assert [(row["image"], row["prompt"], row["boxes"]) for row in rows] == [
        ("7.png", "Where is each cat?", [[1.1, 2.2, 11.2, 7.9]]),
        ("7.png", "Where is each dog?", [[0, 0, 5, 5], [10, 10, 15, 15]]),
        ("3.png", "Where is each dog?", [[1, 2, 4, 6]]),
    ]
    assert count_reasons(source) == {"crowd annotation": 1, "image without annotations": 1}


def test_counting_counts_all_of_a_kind(tmp_path: Path) -> None:
    source = build(tmp_path, task="counting", on_bad_row="drop")
    assert [row["target"]["count"] for row in collect(source)] == [1, 2, 1]


def test_memory_does_not_grow_with_annotations(tmp_path: Path) -> None:
    """Python's own; the index lies on the disk."""
    peaks = []
    for number in (1_000, 8_000):
        annotations = [annotate(n, 7, n, [1, 2, 3, 4], note="x" * 200) for n in range(number)]
        images = [IMAGES[0]] + [
            {"id": 1000 + n, "file_name": f"{n}.png", "width": 40, "height": 30}
            for n in range(number)
        ]
        for n, annotation in enumerate(annotations):
            annotation["image_id"] = 1000 + n
        source = build(tmp_path / str(number), {"images": images, "annotations": annotations})
        tracemalloc.start()
        for _ in iterate_lines(source.files[0], source):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + WINDOW_CHARACTERS * 4


def test_captions_of_an_image_are_accepted_answers_of_one_row(tmp_path: Path) -> None:
    captions = [
        {"id": 1, "image_id": 7, "caption": "A cat.\n"},
        {"id": 2, "image_id": 7, "caption": "A small cat."},
        {"id": 3, "image_id": 7, "caption": "A cat."},
        {"id": 4, "image_id": 3, "caption": " "},
    ]
    source = build(tmp_path, {"images": IMAGES, "annotations": captions}, task="vqa")
    [row] = convert(source)
    assert (row["task"], row["answers"]) == ("vqa", ["A cat.", "A small cat."])
    assert count_reasons(source) == {"empty caption": 1, "image without captions": 1}


def test_annotations_may_come_before_images(tmp_path: Path) -> None:
    turned = dict(reversed(COCO.items()))
    first = convert(build(tmp_path / "a", COCO, on_bad_row="drop"))
    assert convert(build(tmp_path / "b", turned, on_bad_row="drop")) == first


def test_a_file_that_changes_is_read_anew(tmp_path: Path) -> None:
    source = build(tmp_path)
    assert len(convert(source)) == 2
    build(tmp_path, COCO | {"annotations": ANNOTATIONS[:1]})
    assert len(convert(source)) == 1
