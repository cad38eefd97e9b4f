"""Files that mean harm, or are broken in a way nobody thinks of: five kinds and more a format.

Beside test_bad_records.py, which has the mistakes that people make. Of each is said where it is
(file and record) and what stands there.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest

from perpo_core.stages.collect.sources.formats import FORMATS
from schemas.sources import (
    MessagesSource,
)
from tests.perpo_core.records import collect, write_lines, write_noise
from tests.perpo_core.sentences import check_sentence
from tests.perpo_core.stages.collect.formats import test_bad_records
from tests.perpo_core.stages.collect.formats.hostile_files import (
    BOX,
    CAT,
    COUNT,
    IMAGE,
    LATIN,
    LIST,
    PAGE,
    PNG,
    REF,
    ROW,
    SEEN,
    Build,
    ask,
    coco,
    damage,
    one,
    page,
    pages,
    point_at,
    raw,
    refer_to_itself,
    refs,
    table,
    talk,
)

NOT_A_NUMBER = json.dumps(ROW | {"box": [float("nan"), 2, 3, 4]})
BEYOND_A_FLOAT = json.dumps(ROW | {"box": [1, 2, 10**400, 4]})
NO_DATA = "data:image/png;base64,AA=="
BOMB = '<!DOCTYPE a [<!ENTITY a "x"><!ENTITY b "&a;&a;&a;&a;">]><PcGts><Page>&b;</Page></PcGts>'
NO_SHAPE = "a record has image_id, image_path, question, answer, answers_gen and iou_scores"
# What it is -> (the file, what finds the record in it, what stands there and what is wrong).
CASES: dict[str, tuple[Build, str, str, str]] = {
    "jsonl: a box that is no number": (
        raw("jsonl", NOT_A_NUMBER), "d.jsonl", "row 1", "box [NaN, 2, 3, 4] is not four finite",
    ),
    "jsonl: a box without end": (
        raw("jsonl", NOT_A_NUMBER.replace("NaN", "1e999")), "d.jsonl", "row 1",
        "box [Infinity, 2, 3, 4] is not four finite",
    ),
    "jsonl: an integer beyond a float": (
        raw("jsonl", BEYOND_A_FLOAT), "d.jsonl", "row 1", "box [1, 2, 1000",
    ),
    "jsonl: an integer of 5000 digits": (
        raw("jsonl", json.dumps(COUNT).replace("3", "9" * 5000)), "d.jsonl", "row 1",
        "Exceeds the limit (4300 digits)",
    ),
    "jsonl: less than nothing": (
        one("jsonl", COUNT | {"answer": -1}), "d.jsonl", "row 1", "answer -1 is not a whole number",
    ),
    "jsonl: half a thing": (
        one("jsonl", COUNT | {"answer": 2.5}), "d.jsonl", "row 1", "answer 2.5 is not a whole",
    ),
    "jsonl: a box inside out": (
        one("jsonl", ROW | {"box": [20, 15, 4, 3]}), "d.jsonl", "row 1",
        "box [20, 15, 4, 3] must have x1 < x2 and y1 < y2",
    ),
    "jsonl: a box outside": (
        one("jsonl", ROW | {"box": [1, 2, 90, 4]}), "d.jsonl", "row 1",
        "box [1, 2, 90, 4] reaches 50 pixels outside the 40x30 image",
    ),
    "jsonl: bbox for a box": (
        one("jsonl", {**ROW, "box": None, "bbox": [1, 2, 3, 4]}), "d.jsonl", "row 1",
        "box is null",
    ),
    "jsonl: a system message of several": (
        one("jsonl", ROW | {"system": ["a"]}), "d.jsonl", "row 1", 'system ["a"] is not a text',
    ),
    "jsonl: a folder for an image": (
        one("jsonl", ROW | {"image": "folder"}), "d.jsonl", "row 1",
        'image "folder": there is no image file',
    ),
    "jsonl: an image of no bytes": (
        one("jsonl", ROW | {"image": "zero.png"}), "d.jsonl", "row 1",
        'image "zero.png": the image file is empty',
    ),
    "jsonl: half an image": (
        one("jsonl", ROW | {"image": "half.png"}), "d.jsonl", "row 1",
        'image "half.png": the image is truncated or damaged',
    ),
    "jsonl: a name with a line end": (
        one("jsonl", ROW | {"image": "no\nne.png"}), "d.jsonl", "row 1",
        'image "no\\nne.png": there is no image file',
    ),
    "jsonl: a name with a zero": (
        one("jsonl", ROW | {"image": "0\0.png"}), "d.jsonl", "row 1", 'image "0\\u0000.png" is not',
    ),
    "jsonl: a split with a line end": (
        one("jsonl", ROW | {"split": "tr\nain"}), "d.jsonl", "row 1", 'split "tr\\nain" is not kn',
    ),
    "jsonl: Latin-1": (
        raw("jsonl", LATIN), "d.jsonl", "row 1", "byte 0xe9 in position 3",
    ),
    "jsonl: brackets without end": (
        raw("jsonl", "[" * 100_000), "d.jsonl", "row 1", "maximum recursion depth exceeded",
    ),
    "jsonl: the same row twice": (
        raw("jsonl", f"{json.dumps(ROW)}\n{json.dumps(ROW)}"), "d.jsonl", "row 2",
        "the same image, prompt and truth as",
    ),
    "jsonl: nothing": (raw("jsonl", ""), "d.jsonl", "", "the file has no rows; write one"),
    "coco: a box that is no number": (
        coco([BOX | {"bbox": [float("nan"), 2, 3, 4]}]), "d.json", "annotation 9",
        "bbox [NaN, 2, 3, 4] is not four numbers",
    ),
    "coco: a width below 0": (
        coco([BOX | {"bbox": [1, 2, -3, 4]}]), "d.json", "annotation 9", "bbox [1, 2, -3, 4] (x, y",
    ),
    "coco: a mask alone": (
        coco([{**BOX, "bbox": None, "segmentation": {"counts": "abc", "size": [30, 40]}}]),
        "d.json", "annotation 9", "bbox null is not four numbers; give x, y, width, height in",
    ),
    "coco: two annotations of one id": (
        coco([BOX, BOX], "counting"), "d.json", "", "two annotations have the id 9; give each its",
    ),
    "coco: two categories of one id": (
        coco([BOX], categories=[CAT, CAT | {"name": "dog"}]), "d.json", "",
        "two categories have the id 1; keep one",
    ),
    "coco: a category that is a number": (
        coco([BOX], categories=[{"id": 1, "name": 5}]), "d.json", "annotation 9",
        "category_id 1 is none of the file's with a name: it is 5",
    ),
    "coco: a category in quotes": (
        coco([BOX | {"category_id": "1"}]), "d.json", "annotation 9", 'category_id "1" is none of',
    ),
    "coco: an array twice": (
        raw("coco", '{"images": [], "images": []}'), "d.json", "", '"images" is no key, or there',
    ),
    "coco: a way out of the folder": (
        coco([BOX], images=[IMAGE | {"file_name": "../0.png"}]), "d.json", "annotation 9",
        'image "../0.png" leads out of',
    ),
    "coco: an image of no bytes": (
        coco([BOX], images=[IMAGE | {"file_name": "zero.png"}]), "d.json", "annotation 9",
        'image "zero.png": the image file is empty',
    ),
    "coco: a caption that is a number": (
        coco([{"id": 9, "image_id": 1, "caption": 5}], "vqa"), "d.json", "image 1: annotation 9",
        "caption 5 is no text",
    ),
    "coco: an unknown split": (
        coco([BOX], images=[IMAGE | {"split": "mini"}]), "d.json", "annotation 9",
        'split "mini" is not known',
    ),
    "refcoco: a pickle that calls": (
        refs(b"cos\nsystem\n(S'echo'\ntR."), "d.p", "", "it asks for os.system); nothing of it was",
    ),
    "refcoco: a pickle without its end": (
        refs(pickle.dumps([REF], 2)[:-9]), "d.p", "", "pickle data was truncated",
    ),
    "refcoco: a pickle that holds itself": (
        refs(refer_to_itself()), "d.p", "ref 1", "not a JSON object: [[...]]",
    ),
    "refcoco: no references": (
        refs([]), "d.p", "", "the file has no rows; correct source.files, or source.kind, which",
    ),
    "refcoco: an annotation of a list": (
        refs([REF | {"ann_id": [9]}]), "d.p", "ref 3", "ann_id [9] is no annotation of an image in",
    ),
    "refcoco: an unknown split": (
        refs([REF | {"split": "mini"}]), "d.p", "ref 3", 'split "mini" is not known',
    ),
    "refcoco: a box inside out": (
        one("refcoco", SEEN | {"bbox": [9, 9, 1, 2]}), "d.jsonl", "row 1", "box [9, 9, 1, 2] must",
    ),
    "refcoco: a box outside": (
        one("refcoco", SEEN | {"bbox": [1, 1, 99, 9]}), "d.jsonl", "row 1",
        "box [1, 1, 99, 9] reaches 59 pixels outside",
    ),
    "refcoco: annotations that are no JSON": (
        one("refcoco", {**SEEN, "sentences": ["cat"], "raw_anns": "{"}), "d.jsonl", "row 1",
        'raw_anns "{" is no JSON',
    ),
    "refcoco: two boxes": (
        raw("refcoco", '{"image": "0.png", "bbox": [1], "bbox": [2]}'), "d.jsonl", "row 1",
        'key "bbox" twice, [1] and [2]; keep one',
    ),
    "llava: nobody says anything": (
        one("llava", talk()), "d.jsonl", "row 1", "there is no message, and the truth is",
    ),
    "llava: two places for one image": (
        one("llava", talk(("human", "<image><image>a?"), ("gpt", "x"))), "d.jsonl", "row 1",
        "2 places for images (<image>) and the row 1 images",
    ),
    "llava: an answer before the question": (
        one("llava", talk(("gpt", "x"), ("human", "a?"), ("gpt", "y"))), "d.jsonl", "row 1",
        "the messages are of assistant, user; ",
    ),
    "llava: an answer of nothing": (
        one("llava", talk(("human", "a?"), ("gpt", None))), "d.jsonl", "row 1",
        "the answer null is no text; write one",
    ),
    "llava: a word for a count": (
        one("llava", talk(("human", "a?"), ("gpt", "three")), task="counting"), "d.jsonl", "row 1",
        'answer "three" is not a whole number',
    ),
    "llava: an unknown task": (
        one("llava", talk(("human", "a?"), ("gpt", "x"), task=["ocr"])), "d.jsonl", "row 1",
        'task ["ocr"] is not known',
    ),
    "llava: more in a turn than is read": (
        one("llava", {"image": "0.png", "conversations": [{"from": "gpt", "value": "x", "w": 2}]}),
        "d.jsonl", "row 1", 'turn 1: "w" is not read; remove it',
    ),
    "llava: an image of no bytes": (
        one("llava", talk(("human", "a?"), ("gpt", "x"), image="zero.png")), "d.jsonl", "row 1",
        'image "zero.png": the image file is empty',
    ),
    "llava: two images": (
        raw("llava", '{"image": "0.png", "image": "1.png"}'), "d.jsonl", "row 1",
        'key "image" twice, "0.png" and "1.png"; keep one',
    ),
    "llava: two system messages": (
        one("llava", talk(("system", "s"), ("human", "a?"), ("gpt", "x"), system="t")),
        "d.jsonl", "row 1", "the messages are of system, system, user",
    ),
    "messages: two questions": (
        one("messages", ask(("user", "a"), ("user", "b"), ("assistant", "x"))), "d.jsonl", "row 1",
        "the messages are of user, user; ",
    ),
    "messages: a system message in between": (
        one("messages", ask(("user", "a"), ("system", "b"), ("user", "c"), ("assistant", "x"))),
        "d.jsonl", "row 1", "the messages are of user, system, user",
    ),
    "messages: no message": (
        one("messages", ask()), "d.jsonl", "row 1", "there is no message, and the truth is",
    ),
    "messages: names that are a number": (
        point_at(ref=5, bbox=[[1, 2, 3, 4]]), "d.jsonl", "row 1", "objects.ref 5 is no list of",
    ),
    "messages: a type that is a list": (
        point_at(bbox=[[1, 2, 3, 4]], bbox_type=["real"]), "d.jsonl", "row 1",
        'objects.bbox_type ["real"] is neither real nor norm1',
    ),
    "messages: an image that is a list": (
        point_at(bbox=[[1, 2, 3, 4]], image_id=[["a"]]), "d.jsonl", "row 1",
        'objects.image_id [["a"]] is no list of whole numbers',
    ),
    "messages: an image that is not there": (
        point_at(bbox=[[1, 2, 3, 4]], image_id=[5]), "d.jsonl", "row 1",
        "image_number 6 is not a whole number from 1 to the 1 images",
    ),
    "messages: more boxes than are named": (
        point_at(bbox=[[1, 2, 3, 4], [2, 3, 4, 5]]), "d.jsonl", "row 1",
        "1 <bbox> and the 2 boxes of objects.bbox",
    ),
    "messages: letters for a box": (
        point_at(bbox=[["a", "b", "c", "d"]]), "d.jsonl", "row 1", 'box ["a", "b", "c", "d"] is',
    ),
    "messages: a data URL of nothing": (
        one("messages", ask(("user", "a"), ("assistant", "x"), images=[NO_DATA])),
        "d.jsonl", "row 1", 'image "data:image/png;base64,AA==": the file is no image',
    ),
    "messages: an address": (
        one("messages", ask(("user", "a"), ("assistant", "x"), images=["http://a.b/c.png"])),
        "d.jsonl", "row 1", 'image "http://a.b/c.png" is an address, and nothing is fetched',
    ),
    "parquet: half a file": (
        damage(lambda data: data[: len(data) // 2]), "d.parquet", "", "no parquet file (",
    ),
    "parquet: other bytes within": (
        damage(lambda data: data[:60] + bytes(80) + data[140:]), "d.parquet", "", "no parquet file",
    ),
    "parquet: a number for a text": (
        table(PAGE | {"answer": 5}), "d.parquet", "row 1", "answer 5 is not a text",
    ),
    "parquet: bytes for a text": (
        table(PAGE | {"answer": b"\xff"}), "d.parquet", "row 1", "xff'\" is bytes; store it as",
    ),
    "parquet: an object for a text": (
        table(PAGE | {"answer": {"a": 1}}), "d.parquet", "row 1", 'answer {"a": 1} is not a text',
    ),
    "parquet: a text for a box": (
        table(ROW | {"box": "1,2,3,4"}), "d.parquet", "row 1", 'box "1,2,3,4" is not four finite',
    ),
    "parquet: a width below 0": (
        table(ROW | {"box": [9, 9, -2, 3]}, boxes="xywh"), "d.parquet", "row 1",
        "box [9, 9, -2, 3] must have x1 < x2",
    ),
    "parquet: a key that no row has": (
        table(PAGE | {"label": "y"}, columns={"anwser": "label"}), "d.parquet", "",
        'source.columns gives "anwser" a column, and no row has such a key',
    ),
    "parquet: choices": (
        table(PAGE | {"choices": ["a", "b"]}), "d.parquet", "row 1", "choices cannot be expressed",
    ),
    "parquet: an image of no bytes": (
        table(PAGE | {"image": {"bytes": b"", "path": None}}), "d.parquet", "row 1", "image null",
    ),
    "folder: a text in Latin-1": (
        pages(txt=LATIN), "pages", "a.png: a.txt", "byte 0xe9 in position 3",
    ),
    "folder: entities that grow": (
        pages(xml=BOMB), "pages", "a.png: a.xml", "a document type is declared in it",
    ),
    "folder: XML that does not end": (
        pages(xml="<PcGts><Page>"), "pages", "a.png: a.xml", "not XML (no element found: line 1",
    ),
    "folder: XML of another kind": (
        pages(xml="<alto/>"), "pages", "a.png: a.xml", 'root "alto" is not PAGE XML',
    ),
    "folder: a layout without a text": (
        pages(xml=page('<TextRegion id="r"><TextLine/></TextRegion>')), "pages", "a.png: a.xml",
        "no region of it has a text (TextEquiv); is it a layout alone?",
    ),
    "folder: an order that is none": (
        pages(xml=page(
            '<TextRegion><TextEquiv index="x"><Unicode>a</Unicode></TextEquiv></TextRegion>'
        )), "pages", "a.png: a.xml", 'index "x" is no whole number',
    ),
    "folder: HTML that is no hOCR": (
        pages(hocr="<p>a</p>"), "pages", "a.png: a.hocr", "no element of class ocr_line is in it",
    ),
    "folder: two texts": (
        pages(txt="x", hocr="y"), "pages", "a.png", "2 texts beside it (a.hocr, a.txt)",
    ),
    "folder: no text": (pages(), "pages", "a.png", "no text beside it; there is one of .txt"),
    "folder: an image of no bytes": (
        pages(image=b"", txt="x"), "pages", "a.png", 'image "pages/a.png": the image file is empty',
    ),
    "folder: a text nobody sees": (
        pages(txt="\u200b"), "pages", "a.png", 'no visible character: "\\u200b"',
    ),
    "perpo-json: a key twice": (
        raw("perpo-json", '[{"answer": 1, "answer": 2}]'), "d.json", "row 1", 'key "answer" twice;',
    ),
    "perpo-json: a reward that is no number": (
        one("perpo-json", LIST | {"iou_scores": [float("nan")]}), "d.json", "row 1",
        f"iou_scores.0 NaN is no finite number; {NO_SHAPE}",
    ),
    "perpo-json: fewer rewards than answers": (
        one("perpo-json", LIST | {"iou_scores": []}), "d.json", "row 1",
        f"1 answers_gen and 0 iou_scores; {NO_SHAPE}",
    ),
    "perpo-json: no answer": (
        one("perpo-json", {"image_id": 7}), "d.json", "row 1", f"image_path is missing; {NO_SHAPE}",
    ),
    "perpo-json: a box of another convention": (
        one("perpo-json", LIST | {"answer": "[100, 200, 300, 400]"}), "d.json", "row 1",
        "box_norm [100, 200, 300, 400] reaches 11970 pixels outside",
    ),
    "perpo-json: a box inside out": (
        one("perpo-json", LIST | {"answer": "[0.5, 0.5, 0.1, 0.9]"}), "d.json", "row 1",
        "box_norm [0.5, 0.5, 0.1, 0.9] must have x1 < x2",
    ),
    "perpo-json: words for a box": (
        one("perpo-json", LIST | {"answer": "the cat"}, task="grounding"), "d.json", "row 1",
        'answer "the cat" is no truth of task grounding, which is written [x1, y1, x2, y2]',
    ),
    "perpo-json: an unknown task": (
        one("perpo-json", LIST | {"task": ["ocr"]}), "d.json", "row 1", 'task ["ocr"] is not known',
    ),
    "perpo-json: an image that is not there": (
        one("perpo-json", LIST | {"image_path": "none.png"}), "d.json", "row 1",
        'image "none.png": there is no image file',
    ),
    "perpo-json: two images": (
        one("perpo-json", LIST | {"image": "1.png"}), "d.json", "row 1",
        'image "1.png" beside "0.png" of the same record; keep one',
    ),
    "perpo-json: no array": (
        raw("perpo-json", '{"a": 1}'), "d.json", "", 'an object with key "a", and no array',
    ),
    "perpo-json: half a file": (
        raw("perpo-json", json.dumps([LIST])[:-20]), "d.json", "", "not JSON: ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_said_where_it_is_and_what_it_is(name: str, tmp_path: Path) -> None:
    write_noise(tmp_path, "0.png", "1.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "half.png").write_bytes(PNG[:500])
    build, file, record, said = CASES[name]
    with pytest.raises(ValueError) as caught:
        collect(build(tmp_path))
    sentence = str(caught.value)
    check_sentence(sentence, said)
    assert sentence.startswith(f"{tmp_path / file}{' ' if record else ''}{record}: ")


def test_each_format_has_its_cases() -> None:
    names = [*CASES, *test_bad_records.CASES]
    counts = Counter(name.partition(":")[0] for name in names)
    assert counts.keys() == FORMATS.keys()
    assert min(counts.values()) >= 5 and counts.total() >= 60


def test_a_bad_record_among_good_ones_is_dropped_and_counted(tmp_path: Path) -> None:
    """What crashed or passed in silence, each beside a good row of its file."""
    write_noise(tmp_path, "0.png")
    good = ask(("user", "Where?"), ("assistant", "<bbox>"), objects={"bbox": [[1, 2, 3, 4]]})
    bad = [good | {"objects": {"bbox": [[1, 2, 3, 4]]} | change} for change in (
        {"ref": 5}, {"bbox_type": ["real"]}, {"image_id": [["a"]]}, {"bbox": [[1, 2, 3, 4]] * 2},
    )]  # fmt: skip
    file = write_lines(tmp_path / "d.jsonl", [*bad, good])
    [row] = collect(MessagesSource(files=[file], task="grounding", on_bad_row="drop"))
    assert row["row"].endswith("d.jsonl:5")
