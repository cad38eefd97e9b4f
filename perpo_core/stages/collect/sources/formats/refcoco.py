"""RefCOCO, RefCOCO+ and RefCOCOg: an expression and the box of the object that it means.

A row for each expression of an object. The forms in use, told by the name of the file and by the
keys of a record, and what is a box in them:

    refs(unc).p, refs(google).p, refs(umd).p       x, y, width, height in instances.json beside it
    lmms-lab/RefCOCO (bbox, answer a list)         x, y, width, height
    jxu124/refcoco (sentences, raw_anns)           x, y, width, height in raw_anns
    VLM-R1 (problem, solution)                     x1, y1, x2, y2
    Shikra's and Qwen-VL's (expression or sent, bbox)  x1, y1, x2, y2

Splits are the official ones: of the record, else of the file's name. testA and testB are test.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError, is_finite_number, show_value
from perpo_core.stages.collect.sources.formats.coco import REFERRING, describe_image, parse_bbox
from perpo_core.stages.collect.sources.formats.coco_index import Entry, open_index
from perpo_core.stages.collect.sources.formats.embedded import name_image
from perpo_core.stages.collect.sources.formats.line import Line, PassedOver, build_line
from perpo_core.stages.collect.sources.formats.plain_pickle import load_plain_pickle
from perpo_core.stages.collect.sources.formats.records import Record, check_object, iterate_records
from perpo_core.stages.collect.sources.formats.splits import find_split
from schemas.sources import RefcocoSource

Row = dict[str, Any]
IN_NAME = re.compile(r"(?:^|[_\-.])(train|val|test[AB]?)(?=[_\-.]|$)", re.IGNORECASE)
"""A split in the name of a file, as refcoco_val.json has it."""
IMAGE_KEYS = ("image", "img_path", "image_path", "file_name")


def iterate_lines(file: Path, config: RefcocoSource) -> Iterator[Line]:
    """Every expression, in the order of the file."""
    if file.suffix == ".p" or file.suffix == ".pkl":
        yield from _iterate_pickle(file, config)
        return
    for record in iterate_records(file):
        yield from _convert_record(record, file, config)


def _iterate_pickle(file: Path, config: RefcocoSource) -> Iterator[Line]:
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file; correct source.files")
    instances = config.instances or file.parent / "instances.json"
    if not instances.is_file():
        raise ValueError(
            f"{file}: the boxes are in instances.json, and {instances} is no file; name it as "
            "source.instances"
        )
    refs = load_plain_pickle(file)
    if not isinstance(refs, list):
        raise ValueError(f"{file}: the pickle holds no list of references; get the official file")
    ids = (ref.get("ann_id") if isinstance(ref, dict) else None for ref in refs)
    pairs = open_index(instances).find_annotations(ids)
    for number, (ref, (annotation, image)) in enumerate(zip(refs, pairs, strict=True), start=1):
        own_id = ref.get("ref_id", number) if isinstance(ref, dict) else number
        build = partial(_describe_ref, ref, annotation, image, instances, config)
        yield from _ask(f"ref {own_id}", partial(_list_sentences, ref), build, config)


def _describe_ref(
    ref: Any, annotation: Entry | None, image: Entry | None, instances: Path, config: RefcocoSource
) -> Row:
    if not isinstance(annotation, dict) or image is None:
        raise RowError(
            "unknown annotation",
            f"ann_id {show_value(ref.get('ann_id'))} is no annotation of an image in {instances}",
        )
    row = describe_image(image, instances, config)
    row.pop("license")
    return row | {
        "split": find_split(ref.get("split"), "", config),
        "source": f"{instances.parent.name} ref {ref.get('ref_id')}",
        "box": parse_bbox(annotation),
    }


def _list_sentences(ref: Any) -> list[Any]:
    value = check_object(ref)
    if isinstance(value, RowError):
        raise value
    sentences = value.get("sentences")
    if not isinstance(sentences, list) or not sentences:
        raise RowError("empty expression", f"sentences {show_value(sentences)} is no list of them")
    return [
        each.get("sent") or each.get("raw") if isinstance(each, dict) else each
        for each in sentences
    ]


def _convert_record(record: Record, file: Path, config: RefcocoSource) -> Iterator[Line]:
    folder = config.images or file.parent
    build = partial(_describe_record, record, folder, config)
    yield from _ask(record.label, partial(_list_expressions, record), build, config)


def _list_expressions(record: Record) -> list[Any]:
    value = record.get()
    if value.get("sentences") is not None:
        return _list_sentences(value)
    if "solution" in value:
        problem = value.get("problem")  # the whole question, or the expression alone
        given = problem.rpartition("describes:")[2] if isinstance(problem, str) else problem
    else:
        given = next((value[key] for key in ("expression", "sent", "answer") if key in value), None)
    return given if isinstance(given, list) else [given]


def _describe_record(record: Record, folder: Path, config: RefcocoSource) -> Row:
    value = record.get()
    info = _parse_json(value, "raw_image_info")
    name = info.get("file_name") or next((value[k] for k in IMAGE_KEYS if value.get(k)), None)
    in_name = IN_NAME.search(Path(record.file).stem)
    said = value.get("split") or value.get("dataset_split")
    split = find_split(said, record.file, config)
    if split is None and in_name:
        split = find_split(in_name[1], record.file, config)
    return {
        "image": name_image(name, folder),
        "width": value.get("width", info.get("width")),
        "height": value.get("height", info.get("height")),
        "split": split,
        "source": value.get("source"),
        "box": _find_box(value),
    }


def _find_box(value: Row) -> list[float]:
    if value.get("raw_anns") is not None:
        return parse_bbox(_parse_json(value, "raw_anns"))
    if isinstance(value.get("answer"), list):
        return parse_bbox(value)
    key = "solution" if "solution" in value else "bbox"
    box = value.get(key)
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_finite_number, box)):
        raise RowError("bad box", f"{key} {show_value(box)} is not four numbers")
    return box


def _parse_json(value: Row, key: str) -> Row:
    """What a column of the jxu124 form holds as text, {} where there is none."""
    text = value.get(key)
    try:
        found = json.loads(text) if isinstance(text, str) else text or {}
    except ValueError as error:
        raise RowError("malformed row", f"{key} {show_value(text)} is no JSON") from error
    if not isinstance(found, dict):
        raise RowError("malformed row", f"{key} {show_value(text)} is no JSON object")
    return found


def _ask(label: str, list_expressions: Any, build: Any, config: RefcocoSource) -> Iterator[Line]:
    """A row for each expression of an object; one that people gave twice is asked once."""
    try:
        expressions = list_expressions()
    except RowError as error:
        yield Line(label, error)
        return
    asked: set[str] = set()
    for number, expression in enumerate(expressions, start=1):
        name = label if len(expressions) == 1 else f"{label} expression {number}"
        yield build_line(name, partial(_build_row, expression, asked, build, config))


def _build_row(expression: Any, asked: set[str], build: Any, config: RefcocoSource) -> Row:
    if not isinstance(expression, str) or not expression.strip():
        raise RowError("empty expression", f"expression {show_value(expression)} is no text")
    text = expression.strip()
    if text in asked:
        raise PassedOver(
            "expression given twice", f"{show_value(text)} stands twice beside the same box"
        )
    asked.add(text)
    prompt = (config.prompt or REFERRING).replace("{expression}", text)
    licence = config.licence or None
    return {"task": "grounding", "prompt": prompt, "licence": licence, **build()}
