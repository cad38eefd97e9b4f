"""Conversations as rows: the last answer is the truth, and all before it is the question.

Shared by llava and messages, which only differ in how they write a turn. An answer is read as its
record's task wants it: as a text, or for grounding, detection and pointing as the boxes that
`objects` gives (objects.py), or else as the box that the text states in source.box_format.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from perpo_core.perception.boxes import Frame, parse_boxes
from perpo_core.perception.truths.row import RowError, show_value
from perpo_core.stages.collect.sources.formats.embedded import name_image
from perpo_core.stages.collect.sources.formats.line import Line, build_line
from perpo_core.stages.collect.sources.formats.objects import Objects, read_objects
from perpo_core.stages.collect.sources.formats.passing import pass_on
from perpo_core.stages.collect.sources.formats.records import Record, iterate_records
from perpo_core.stages.collect.sources.formats.splits import find_split
from schemas.sources import ChatSource

Row = dict[str, Any]
PLACED = ("grounding", "detection", "pointing")
"""Tasks whose truths lie somewhere in the image."""
ANY_SIDE = 1 << 20
"""Of an image whose size does not matter: a power of two, by which numbers divide without loss."""
IMAGE_PARTS = ("image", "image_url")


@dataclass(frozen=True)
class Turn:
    """A message: its role is system, user or assistant."""

    role: str
    content: Any
    """A text, or OpenAI's list of parts."""


def iterate_conversations(
    file: Path, config: ChatSource, key: str, parse_turns: Callable[[Row], list[Turn]]
) -> Iterator[Line]:
    """A row for each conversation, or for each answer of it; `key` is where its turns stand.

    `parse_turns` may raise RowError.
    """
    for record in iterate_records(file):
        try:
            turns = parse_turns(record.get())
        except RowError as error:
            yield Line(record.label, error)
            continue
        yield from _convert_record(record, turns, [key], config, file)


def refuse_unread(where: str, turn: Row, read: Container[str]) -> None:
    """Raise RowError for what a turn says under another key than those that are read."""
    unread = [key for key, said in turn.items() if key not in read and said]
    if unread:
        raise RowError("bad messages", f"{where}: {show_value(unread[0])} is not read; remove it")


def _convert_record(
    record: Record, turns: Sequence[Turn], used: Sequence[str], config: ChatSource, file: Path
) -> Iterator[Line]:
    """The row of a conversation, or one for each answer; `used`: the keys that it is made of."""
    answers = [number for number, turn in enumerate(turns) if turn.role == "assistant"]
    if config.turns == "last" or len(answers) < 2:
        build = partial(_build_row, record, turns, used, config, file)
        yield build_line(record.label, build)
        return
    for number, end in enumerate(answers, start=1):
        build = partial(_build_row, record, turns[: end + 1], used, config, file)
        yield build_line(f"{record.label} answer {number}", build)


def _build_row(
    record: Record, turns: Sequence[Turn], used: Sequence[str], config: ChatSource, file: Path
) -> Row:
    value = record.get()
    if not turns or turns[-1].role != "assistant":
        said = f"the last message is of {turns[-1].role}" if turns else "there is no message"
        raise RowError("no answer", f"{said}, and the truth is the assistant's last one; add it")
    objects = read_objects(value)
    question = [Turn(turn.role, objects.fill(turn.content)) for turn in turns[:-1]]
    answer = objects.fill_answer(_join_texts(turns[-1].content))
    task = value.get("task") or config.task
    folder = config.images or file.parent
    row = {
        "task": task,
        "split": find_split(value.get("split"), record.file, config),
        "licence": value.get("licence") or config.licence or None,
        **_list_images(value, folder),
        **_ask(question, value, folder),
        **_read_truth(str(task), answer, objects, value, config),
    }
    return pass_on(value, row, [*used, "image", "images", "objects", "system"], config.ignore)


def _list_images(value: Row, folder: Path) -> Row:
    given = value.get("images") or value.get("image")
    if given is None or given == []:
        return {}
    names = [name_image(each, folder) for each in (given if isinstance(given, list) else [given])]
    return {"image": names[0]} if len(names) == 1 else {"images": names}


def _ask(turns: Sequence[Turn], value: Row, folder: Path) -> Row:
    """The question: `prompt` where it is one text, else `messages`."""
    system = value.get("system") or None
    if [turn.role for turn in turns] == ["user"] and isinstance(turns[0].content, str):
        return {"prompt": turns[0].content, "system": system}
    messages = [{"role": t.role, "content": _name_parts(t.content, folder)} for t in turns]
    return {"messages": messages, "system": system}


def _name_parts(content: Any, folder: Path) -> Any:
    """Parts with the images that they name, as rows name them."""
    if not isinstance(content, list):
        return content
    return [_name_part(part, folder) if isinstance(part, dict) else part for part in content]


def _name_part(part: Row, folder: Path) -> Row:
    said = {key: value for key, value in part.items() if value is not None}
    kind = said.get("type")
    if kind not in IMAGE_PARTS or said.get(kind) is None:
        return said
    image = (
        said[kind].get("url")
        if kind == "image_url" and isinstance(said[kind], dict)
        else said[kind]
    )
    return {"type": "image", "image": name_image(image, folder)}


def _join_texts(content: Any) -> str:
    """The text of an answer. Raises RowError."""
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise RowError("no answer", f"the answer {show_value(content)} is no text; write one")
    return "".join(map(str, texts))


def _read_truth(task: str, answer: str, objects: Objects, value: Row, config: ChatSource) -> Row:
    if task not in PLACED:
        return {"answer": answer}
    if objects.has_boxes:
        return objects.build_truth(task)
    if task == "pointing":
        raise RowError(
            "bad box",
            f"the answer {show_value(answer)} of a pointing record has no objects beside it; give "
            "the point as objects.bbox, and <bbox> in the answer",
        )
    return _read_boxes(task, answer, value, config)


def _read_boxes(task: str, answer: str, value: Row, config: ChatSource) -> Row:
    """The boxes that a text states: in pixels, or in 0-1 of an image of any size."""
    name = config.box_format
    frame = Frame(ANY_SIDE, ANY_SIDE)
    if name == "pixels_resized" or name.endswith("_padded"):
        frame = _find_frame(name, value)
    stated, problem = parse_boxes(answer, name, frame)
    if stated is None or stated.num_empty or (task == "grounding" and stated.num != 1):
        why = problem or f"{stated.num if stated else 0} boxes, some perhaps without an area"
        raise RowError("bad box", f"the answer {show_value(answer)} is no box in {name} ({why})")
    side = ANY_SIDE if name == "pixels" else 1
    boxes = [[v * side for v in box] for box in stated.boxes]
    suffix = "" if name == "pixels" else "_norm"
    return {f"box{suffix}": boxes[0]} if task == "grounding" else {f"boxes{suffix}": boxes}


def _find_frame(name: str, value: Row) -> Frame:
    """Of a format that depends on the image's shape. Raises RowError."""
    width, height = value.get("width"), value.get("height")
    if name == "pixels_resized" or not isinstance(width, int) or not isinstance(height, int):
        raise RowError(
            "unknown box format",
            f"box_format {name} depends on how large the image "
            + (
                "was shown, which no record says; give boxes in pixels"
                if name == "pixels_resized"
                else "is; give width and height in the record"
            ),
        )
    return Frame(width, height)
