"""One row of a JSON Lines source: what it must say, and one sentence for everything it may not.

Keys: image, task, prompt; box (with box_format) or box_norm for grounding, answer for ocr and
counting; optional split, width, height, source, licence. Further keys are the user's own, unless
they would change what is asked or true (jsonl_keys.py). Boxes leave here in the internal form: 0-1
of the upright original image.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from perpo_core.perception.boxes import Box
from perpo_core.perception.visible import has_visible
from perpo_core.stages.collect.sources.jsonl_boxes import parse_box, refuse_box
from perpo_core.stages.collect.sources.jsonl_texts import (
    get_note,
    get_text,
    parse_choice,
    parse_count,
    parse_prompt,
    parse_text_answer,
)
from perpo_core.stages.collect.sources.rows import RowError, show_value
from schemas.base import SPLITS, TASKS, Split, Task


@dataclass(frozen=True)
class ParsedRow:
    """What a row says, checked."""

    task: Task
    split: Split | None
    prompt: str
    truth: Box | str | int
    source: str
    licence: str


def find_image(raw: dict[str, Any], folder: Path, where: str) -> Path:
    """Where the row's image lies: inside the file's folder, links followed. Raises RowError."""
    name = get_text(raw, "image", where, "image missing")
    if not has_visible(name):
        raise RowError("image missing", f"{where}: image {show_value(name)} is empty; give a path")
    if "\0" in name or Path(name).is_absolute():
        raise RowError(
            "image outside the folder",
            f"{where}: image {show_value(name)} is not a path relative to the file's folder",
        )
    # realpath, unlike Path.resolve, also answers for a loop of links.
    home, path = (Path(os.path.realpath(place)) for place in (folder, folder / name))
    if not path.is_relative_to(home):
        raise RowError(
            "image outside the folder",
            f"{where}: image {show_value(name)} leads out of {home}; put the image into "
            "that folder",
        )
    return path


def parse_row(raw: dict[str, Any], where: str, size: tuple[int, int]) -> ParsedRow:
    """The row, checked against its image's (width, height) in pixels. Raises RowError."""
    task = cast(Task, parse_choice(raw, "task", TASKS, where, "unknown task"))
    split = None
    if raw.get("split") is not None:
        split = parse_choice(raw, "split", SPLITS, where, "unknown split")
    return ParsedRow(
        task=task,
        split=cast(Split | None, split),
        prompt=parse_prompt(raw, where),
        truth=_parse_truth(task, raw, where, size),
        source=get_note(raw, "source", where),
        licence=get_note(raw, "licence", where),
    )


def _parse_truth(
    task: Task, raw: dict[str, Any], where: str, size: tuple[int, int]
) -> Box | str | int:
    if task == "grounding":
        return parse_box(raw, where, size)
    refuse_box(raw, task, where)
    return parse_count(raw, where) if task == "counting" else parse_text_answer(raw, where)
