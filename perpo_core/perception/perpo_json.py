"""The JSON of the official PerPO code: a prompt, its true answer, and sampled answers with rewards.

One array of records (github.com/ningerhhh/PerPO at e39a24a, assets/data.json):

    image_id, image_path, question, answer, answers_gen: [text], iou_scores: [reward]

`answers_gen` stands best first, and `iou_scores` beside it, whatever the reward is. Boxes are
written "[x1, y1, x2, y2]" in 0-1 of the image with two decimals. `answer` is the truth, which the
official loader does not read. As a source of prompts: formats/perpo_json.py of collect's sources.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, ValidationError, model_validator

from perpo_core.perception.rewards.base import Target
from perpo_core.perception.truths.row import Raw, RowError, show_value
from schemas.base import Frozen, TaskName

BOX_DECIMALS = 2
SHAPE = "a record has image_id, image_path, question, answer, answers_gen and iou_scores"
SHAPES = {"grounding": "[x1, y1, x2, y2]", "detection": "[[x1, y1, x2, y2], ...]",
          "pointing": "[x, y] or [x1, y1, x2, y2]"}  # fmt: skip
"""Task -> how its truths are written, of those that lie somewhere in the image."""
WORDS = {"string_type": "is no text", "list_type": "is no list", "model_type": "is no record"}
"""pydantic's type of an error -> what is wrong with the value."""
UNIONS = {"image_id": "is neither a whole number nor a text", "iou_scores": "is no finite number"}
UNION_MEMBERS = ("int", "float", "str")
"""What pydantic puts into the place of an error where a value may be of several types."""


class PerpoRecord(Frozen):
    """One record; keys of somebody's own travel along."""

    model_config = ConfigDict(extra="allow", strict=True)

    image_id: int | str
    image_path: str
    """Relative to an image folder."""
    question: str
    """Without a mark for the image."""
    answer: str
    answers_gen: list[str]
    iou_scores: list[int | float]
    """As they are written, so that a record is the same when it is written again."""

    @model_validator(mode="after")
    def _check_lengths(self) -> PerpoRecord:
        if len(self.answers_gen) != len(self.iou_scores):
            raise ValueError(
                f"{len(self.answers_gen)} answers_gen and {len(self.iou_scores)} iou_scores"
            )
        return self

    @property
    def ranked_answers(self) -> list[tuple[str, float]]:
        """Every answer with its reward, in the order of the file."""
        return list(zip(self.answers_gen, self.iou_scores, strict=True))


def iterate_records(path: Path) -> Iterator[PerpoRecord]:
    """The records of a file, read one by one.

    Raises ValueError, one sentence with file and record, for what is no such file.
    """
    import ijson  # of use to whoever reads such a file back, and to no stage

    num_read = 0
    with path.open("rb") as file:
        try:
            for record in ijson.items(file, "item", use_float=True):
                num_read += 1
                yield _parse_record_of(path, num_read, record)
        except ijson.JSONError as error:
            raise ValueError(
                f"{path}: what follows record {num_read} is no JSON ({_say(error)}); restore the "
                "file"
            ) from error
    if num_read == 0:
        raise ValueError(f"{path} holds no record; it has to be one JSON array of them")


def parse_record(value: object) -> PerpoRecord:
    """A record, checked. Raises RowError."""
    try:
        return PerpoRecord.model_validate(value)
    except ValidationError as error:
        raise RowError("malformed row", f"{_explain(error)}; {SHAPE}") from error


def build_row(record: PerpoRecord, task: TaskName | None = None) -> Raw:
    """The prompt as a row of JSON Lines (docs/data.md), without its answers. Raises RowError.

    Where no task is named, an answer of four numbers is the box of a grounding row and any other
    the text of an OCR row: the official data hold no third.
    """
    task = task or ("grounding" if parse_box(record.answer) else "ocr")
    is_placed = isinstance(task, str) and task in SHAPES  # a row's task is checked with the row
    truth = _build_truth(record.answer, task) if is_placed else {"answer": record.answer}
    return {"task": task, "image": record.image_path, "prompt": record.question, **truth}


def parse_box(answer: str) -> list[float] | None:
    """The four numbers that an answer is; None where it is something else."""
    found = _parse_list(answer)
    return found if found is not None and _is_shape(found, 4) else None


def write_truth(target: Target) -> str:
    """The true answer in the official words; of several accepted ones the first."""
    if target["text"] is not None:
        return target["text"]
    if target["count"] is not None:
        return str(target["count"])
    boxes = target.get("boxes")
    shape = boxes if boxes is not None else target["box"]
    assert shape is not None, target
    return str(_round(shape))


def _build_truth(answer: str, task: str) -> Raw:
    found = _parse_list(answer)
    if found is not None:
        if task == "detection" and all(_is_shape(box, 4) for box in found):
            return {"boxes_norm": found}
        if task != "detection" and _is_shape(found, 4):
            return {"box_norm": found}
        if task == "pointing" and _is_shape(found, 2):
            return {"point_norm": found}
    raise RowError(
        "bad box",
        f"answer {show_value(answer)} is no truth of task {task}, which is written "
        f"{SHAPES[task]} in 0-1 of the image; correct it, or name another task",
    )


def _parse_list(answer: str) -> list[Any] | None:
    try:
        found = ast.literal_eval(answer.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # any text, however odd
        return None
    return found if isinstance(found, list) else None


def _is_shape(value: object, length: int) -> bool:
    if not isinstance(value, list) or len(value) != length:
        return False
    return all(type(n) in (int, float) for n in value)


def _parse_record_of(path: Path, number: int, value: object) -> PerpoRecord:
    try:
        return parse_record(value)
    except RowError as error:
        raise ValueError(f"{path}, record {number}: {error}") from error


def _explain(error: ValidationError) -> str:
    """The first of what is wrong: which key, its value, why."""
    [first, *_] = error.errors()
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    parts = [part for part in first["loc"] if part not in UNION_MEMBERS]
    key = ".".join(map(str, parts))
    if first["type"] == "missing":
        return f"{key} is missing"
    what = UNIONS[str(parts[0])] if len(parts) < len(first["loc"]) else WORDS[first["type"]]
    return f"{key} {show_value(first['input'])} {what}".strip()


def _round(shape: list[float] | list[list[float]]) -> list[object]:
    return [_round(each) if isinstance(each, list) else round(each, BOX_DECIMALS) for each in shape]


def _say(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
