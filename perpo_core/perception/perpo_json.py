"""The JSON of the official PerPO code: a prompt, its true answer, and sampled answers with rewards.

One array of records (github.com/ningerhhh/PerPO at e39a24a, assets/data.json):

    image_id, image_path, question, answer, answers_gen: [text], iou_scores: [reward]

`answers_gen` stands best first, and `iou_scores` beside it, whatever the reward is. Boxes are
written "[x1, y1, x2, y2]" in 0-1 of the image with two decimals. `answer` is the truth, which the
official loader does not read.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import ijson
from pydantic import ConfigDict, ValidationError, model_validator

from perpo_core.perception.rewards.base import Target
from perpo_core.perception.truths.row import Raw
from schemas.base import Frozen, TaskName

BOX_DECIMALS = 2


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
    iou_scores: list[float]

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
    num_read = 0
    with path.open("rb") as file:
        try:
            for record in ijson.items(file, "item", use_float=True):
                num_read += 1
                yield _build_record(record, f"{path}, record {num_read}")
        except ijson.JSONError as error:
            raise ValueError(
                f"{path}: what follows record {num_read} is no JSON ({_say(error)}); restore the "
                "file"
            ) from error
    if num_read == 0:
        raise ValueError(f"{path} holds no record; it has to be one JSON array of them")


def build_row(record: PerpoRecord, task: TaskName | None = None) -> Raw:
    """The prompt as a row of JSON Lines (docs/data.md), without its answers.

    Where no task is named, an answer of four numbers is the box of a grounding row and any other
    the text of an OCR row: the official data hold no third.
    """
    box = parse_box(record.answer)
    task = task or ("grounding" if box else "ocr")
    truth = {"box_norm": box} if task == "grounding" else {"answer": record.answer}
    return {"task": task, "image": record.image_path, "prompt": record.question, **truth}


def parse_box(answer: str) -> list[float] | None:
    """The four numbers that an answer is; None where it is something else."""
    try:
        numbers = ast.literal_eval(answer.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # any text, however odd
        return None
    if not isinstance(numbers, list) or len(numbers) != 4:
        return None
    return numbers if all(type(n) in (int, float) for n in numbers) else None


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


def _build_record(record: object, where: str) -> PerpoRecord:
    try:
        return PerpoRecord.model_validate(record)
    except ValidationError as error:
        [first, *_] = error.errors()
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(
            f"{where}: {key}{': ' if key else ''}{first['msg']}; a record has image_id, "
            "image_path, question, answer, answers_gen and iou_scores"
        ) from error


def _round(shape: list[float] | list[list[float]]) -> list[object]:
    return [_round(each) if isinstance(each, list) else round(each, BOX_DECIMALS) for each in shape]


def _say(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
