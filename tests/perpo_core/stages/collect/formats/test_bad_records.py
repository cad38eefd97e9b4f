"""What cannot be read is said in one sentence with the file, the record and the value."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.sources import (
    CocoSource,
    FolderSource,
    LlavaSource,
    MessagesSource,
    ParquetSource,
    RefcocoSource,
    RowsSource,
)
from tests.perpo_core.records import collect, write_json, write_lines, write_noise, write_table
from tests.perpo_core.sentences import check_sentence

Build = Callable[[Path], RowsSource]
BOX = {"id": 9, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
IMAGE = {"id": 1, "file_name": "0.png", "width": 40, "height": 30}


def coco(annotation: Any, task: Any = "grounding", **changes: Any) -> Build:
    content = {
        "images": [IMAGE], "annotations": [annotation], "categories": [{"id": 1, "name": "cat"}],
    } | changes  # fmt: skip
    return lambda folder: CocoSource(files=[write_json(folder / "coco.json", content)], task=task)


def coco_text(text: str) -> Build:
    def build(folder: Path) -> RowsSource:
        (folder / "coco.json").write_text(text)
        return CocoSource(files=[folder / "coco.json"])

    return build


def llava(record: Any, **settings: Any) -> Build:
    return lambda folder: LlavaSource(files=[write_json(folder / "l.json", [record])], **settings)


def messages(record: Any, **settings: Any) -> Build:
    settings = {"task": "grounding"} | settings
    return lambda folder: MessagesSource(
        files=[write_lines(folder / "m.jsonl", [record])], **settings
    )


def table(record: Any, **settings: Any) -> Build:
    return lambda folder: ParquetSource(
        files=[write_table(folder / "t.parquet", [record])], **settings
    )


def refcoco(record: Any) -> Build:
    return lambda folder: RefcocoSource(files=[write_lines(folder / "r.jsonl", [record])])


def refs(content: Any) -> Build:
    def build(folder: Path) -> RowsSource:
        write_json(folder / "instances.json", {"images": [IMAGE], "annotations": [BOX]})
        raw = content if isinstance(content, bytes) else pickle.dumps(content, 2)
        (folder / "refs.p").write_bytes(raw)
        return RefcocoSource(files=[folder / "refs.p"])

    return build


def ask(answer: Any, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": "Where?"}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "images": ["0.png"]} | more


def turn(who: Any, value: Any = "Hello") -> dict[str, Any]:
    return {"image": "0.png", "conversations": [{"from": who, "value": value}]}


PAGE = {"image": "0.png", "task": "ocr", "prompt": "Read.", "answer": "x"}
CASES: dict[str, tuple[Build, str]] = {
    "coco: a box of nothing": (
        coco(BOX | {"bbox": [1, 2, 0, 4]}),
        "coco.json annotation 9: bbox [1, 2, 0, 4] (x, y, width, height) has no area",
    ),
    "coco: three numbers": (
        coco(BOX | {"bbox": [1, 2, 3]}),
        "coco.json annotation 9: bbox [1, 2, 3] is not four numbers",
    ),
    "coco: a box outside": (
        coco(BOX | {"bbox": [30, 2, 30, 4]}),
        "coco.json annotation 9: box [30, 2, 60, 6] reaches 20 pixels outside the 40x30 image",
    ),
    "coco: no such category": (
        coco(BOX | {"category_id": 5}),
        "coco.json annotation 9: category_id 5 is none of the file's",
    ),
    "coco: no such image": (
        coco(BOX | {"image_id": 5}),
        "coco.json annotation 9: image_id 5 is none of the file's images",
    ),
    "coco: a crowd": (
        coco(BOX | {"iscrowd": 1}),
        "coco.json annotation 9: annotation 9 is a crowd (iscrowd)",
    ),
    "coco: a crowd among what is to be found": (
        coco(BOX | {"iscrowd": 1}, "counting"),
        "coco.json image 1 category 1: annotation 9 is a crowd (iscrowd)",
    ),
    "coco: an entry that is none": (
        coco("cat"),
        'coco.json annotation entry 1: not a JSON object: "cat"',
    ),
    "coco: an image without a name": (
        coco(BOX, images=[{"id": 1}]),
        "coco.json annotation 9: file_name null is no path",
    ),
    "coco: an image that is not there": (
        coco(BOX, images=[IMAGE | {"file_name": "none.png"}]),
        'coco.json annotation 9: image "none.png": there is no image file',
    ),
    "coco: an image of another size": (
        coco(BOX, images=[IMAGE | {"width": 80}]),
        "coco.json annotation 9: width and height say 80x30 but the image is 40x30",
    ),
    "coco: two images of one id": (
        coco(BOX, images=[IMAGE, IMAGE]),
        "coco.json: two images have the id 1; give each its own",
    ),
    "coco: boxes where captions are asked": (
        coco(BOX, "vqa"),
        "coco.json image 1: annotation 9: caption null is no text",
    ),
    "coco: other data": (
        coco_text('{"data": [1]}'),
        "coco.json: a COCO file has the arrays images and annotations with entries, and this one "
        "has data",
    ),
    "coco: half a file": (
        coco_text('{"images": [{"id": 1}, {"id"'),
        "coco.json: not JSON: ",
    ),
    "coco: a key twice": (
        coco_text(
            '{"images": [{"id": 1, "file_name": "0.png"}], "annotations": [{"bbox": 1, "bbox": 2}]}'
        ),
        'coco.json annotation entry 1: key "bbox" twice; keep one',
    ),
    "refcoco: no expression": (
        refcoco({"image": "0.png", "bbox": [1, 2, 3, 4]}),
        "r.jsonl row 1: expression null is no text",
    ),
    "refcoco: no box": (
        refcoco({"image": "0.png", "sent": "cat", "bbox": None}),
        "r.jsonl row 1: bbox null is not four numbers",
    ),
    "refcoco: no image": (
        refcoco({"sent": "cat", "bbox": [1, 2, 3, 4]}),
        "r.jsonl row 1: image null is neither a path nor a file",
    ),
    "refcoco: an unknown split": (
        refcoco({"image": "0.png", "sent": "cat", "bbox": [1, 2, 3, 4], "split": "minival"}),
        'r.jsonl row 1: split "minival" is not known; it is one of train',
    ),
    "refcoco: no annotation": (
        refs([{"ref_id": 3, "ann_id": 5, "split": "val", "sentences": [{"sent": "cat"}]}]),
        "refs.p ref 3: ann_id 5 is no annotation of an image in",
    ),
    "refcoco: no sentences": (
        refs([{"ref_id": 3, "ann_id": 9, "split": "val", "sentences": []}]),
        "refs.p ref 3: sentences [] is no list of them",
    ),
    "refcoco: another pickle": (
        refs({"a": 1}),
        "refs.p: the pickle holds no list of references",
    ),
    "refcoco: half a pickle": (
        refs(pickle.dumps(list(range(99)))[:-20]),
        "refs.p: ",
    ),
    "refcoco: no pickle": (
        refs(b"refs"),
        "refs.p: ",
    ),
    "llava: nobody known": (
        llava(turn("bot")),
        'l.json row 1: turn 1: {"from": "bot", "value": "Hello"} is from nobody known',
    ),
    "llava: a question without an answer": (
        llava(turn("human")),
        "l.json row 1: the last message is of user, and the truth is the assistant's last one",
    ),
    "llava: messages": (
        llava(ask("x")),
        "l.json row 1: conversations null is no list of from and value; its messages are of kind "
        "messages",
    ),
    "llava: an answer alone": (
        llava(turn("gpt"), task="ocr"),
        "l.json row 1: ",
    ),
    "messages: conversations": (
        messages(turn("human")),
        "m.jsonl row 1: messages null is no list of role and content; its conversations are of "
        "kind llava",
    ),
    "messages: a tool": (
        messages({"messages": [{"role": "tool", "content": "x"}]}),
        'm.jsonl row 1: message 1: {"role": "tool", "content": "x"} has no role',
    ),
    "messages: a call": (
        messages({"messages": [{"role": "assistant", "content": "x", "tool_calls": [1]}]}),
        'm.jsonl row 1: message 1: "tool_calls" is not read; remove it',
    ),
    "messages: an answer that is no text": (
        messages(ask([{"type": "image"}])),
        'm.jsonl row 1: the answer [{"type": "image"}] is no text',
    ),
    "messages: no box in the answer": (
        messages(ask("left of the door")),
        'm.jsonl row 1: the answer "left of the door" is no box in norm1',
    ),
    "messages: a box of another convention": (
        messages(ask("[100, 200, 300, 400]")),
        'm.jsonl row 1: the answer "[100, 200, 300, 400]" is no box in norm1',
    ),
    "messages: a format that needs the image": (
        messages(ask("[0, 0, 1, 1]"), box_format="norm1_padded"),
        "m.jsonl row 1: box_format norm1_padded depends on how large the image is",
    ),
    "messages: more boxes than objects": (
        messages(ask("<bbox><bbox>", objects={"bbox": [[1, 2, 3, 4]]})),
        "m.jsonl row 1: 2 <bbox> and the 1 boxes of objects.bbox",
    ),
    "messages: two boxes for one": (
        messages(ask("<bbox><bbox>", objects={"bbox": [[1, 2, 3, 4], [1, 2, 3, 5]]})),
        "m.jsonl row 1: 2 boxes of objects.bbox in a record of task grounding, which has one",
    ),
    "messages: a type of box": (
        messages(ask("<bbox>", objects={"bbox": [[1, 2, 3, 4]], "bbox_type": "norm1000"})),
        'm.jsonl row 1: objects.bbox_type "norm1000" is neither real nor norm1',
    ),
    "messages: a turned line": (
        messages("{]"),
        "m.jsonl row 1: not a JSON object",
    ),
    "messages: a key twice": (
        messages('{"messages": [], "images": [1], "images": [2]}'),
        'm.jsonl row 1: key "images" twice, [1] and [2]; keep one',
    ),
    "messages: a video": (
        messages(ask("x", videos=["a.mp4"]), task="ocr"),
        "m.jsonl row 1: videos cannot be expressed: a row is about still images",
    ),
    "messages: an answer beside the answer": (
        messages(ask("x") | {"answer": "y"}, task="ocr"),
        'm.jsonl row 1: answer "y" beside "x" of the same record; keep one, or name answer in '
        "source.ignore",
    ),
    "parquet: no such column": (
        table(PAGE, columns={"answer": "label"}),
        't.parquet: source names the column "label", and the table has image, task, prompt, answer',
    ),
    "parquet: no such nested column": (
        table(PAGE | {"qa": {"q": "x"}}, columns={"prompt": "qa.question"}),
        't.parquet row 1: column qa.question: there is no "question" in it',
    ),
    "parquet: no task": (
        table({**PAGE, "task": None}),
        "t.parquet row 1: task is missing",
    ),
    "parquet: an image that is none": (
        table(PAGE | {"image": {"bytes": b"no image", "path": None}}),
        "t.parquet row 1: ",
    ),
    "parquet: a number for an image": (
        table(PAGE | {"image": 5}),
        "t.parquet row 1: image 5 is neither a path nor a file",
    ),
    "folder: a file": (
        lambda folder: FolderSource(files=[folder / "0.png"]),
        "0.png: there is no such folder; correct source.files",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_said_in_one_sentence(name: str, tmp_path: Path) -> None:
    write_noise(tmp_path, "0.png")
    build, said = CASES[name]
    with pytest.raises(ValueError) as caught:
        collect(build(tmp_path))
    sentence = str(caught.value)
    check_sentence(sentence, said)
    assert sentence.startswith(str(tmp_path)), "the file comes first"


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_a_table_that_is_none(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"PAR1 nothing")
    with pytest.raises(ValueError, match=rf"{name}: no {name[2:]} file \(.*\); get it anew"):
        collect(ParquetSource(files=[tmp_path / name]))


def test_a_file_of_no_known_kind(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b")
    with pytest.raises(ValueError, match="its name does not say what it holds"):
        collect(ParquetSource(files=[tmp_path / "rows.csv"]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: the folder holds none of \.parquet"):
        collect(ParquetSource(files=[tmp_path / "empty"]))
    with pytest.raises(ValueError, match="there is no such file or folder"):
        collect(LlavaSource(files=[tmp_path / "gone.json"]))


def test_bad_records_are_counted_where_they_are_dropped(tmp_path: Path) -> None:
    write_noise(tmp_path, "0.png")
    good = ask("3", task="counting")
    bad: list[Any] = [ask("three", task="counting"), {"messages": []}, "{]", good]
    file = write_lines(tmp_path / "m.jsonl", [good, *bad])
    [row] = collect(MessagesSource(files=[file], on_bad_row="drop"))
    assert row["target"]["count"] == 3
    assert json.loads(json.dumps(row["row"])).endswith("m.jsonl:1")
