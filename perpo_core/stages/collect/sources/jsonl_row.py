"""One row of a JSON Lines source: what it must say, and one sentence for everything it may not.

Keys: image or images, task, prompt or messages; the task's truth (perpo_core/perception/tasks);
optional system, split, width, height, image_number, source, licence. Further keys are the user's
own, unless they would change what is asked or true (jsonl_keys.py). Boxes leave here in the
internal form: 0-1 of the upright original image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from perpo_core.perception.tasks import TASKS, Truth
from perpo_core.perception.truths.row import RowError, show_value
from perpo_core.stages.collect.sources.jsonl_keys import is_note
from perpo_core.stages.collect.sources.jsonl_prompt import Message, parse_messages
from perpo_core.stages.collect.sources.jsonl_texts import get_note, parse_choice
from perpo_core.stages.collect.sources.jsonl_truths import list_variants
from schemas.base import SPLITS, Split, TaskName


@dataclass(frozen=True)
class ParsedRow:
    """What a row says, checked."""

    task: TaskName
    split: Split | None
    messages: list[Message]
    truths: list[Truth]
    """One, or all that are accepted."""
    source: str
    licence: str


def parse_row(
    raw: dict[str, Any], where: str, size: tuple[int, int], num_images: int = 1
) -> ParsedRow:
    """The row; `size` in pixels is that of the image that boxes lie in. Raises RowError."""
    task = parse_choice(raw, "task", tuple(TASKS), where, "unknown task")
    split = None
    if raw.get("split") is not None:
        split = parse_choice(raw, "split", SPLITS, where, "unknown split")
    messages = parse_messages(raw, where, num_images)
    return ParsedRow(
        task=task,
        split=cast(Split | None, split),
        messages=messages,
        truths=[_parse_truth(task, variant, where, size) for variant in list_variants(raw)],
        source=get_note(raw, "source", where),
        licence=get_note(raw, "licence", where),
    )


def parse_image_number(raw: dict[str, Any], where: str, num_images: int) -> int:
    """Which image boxes lie in, from 0; a row counts from 1. Raises RowError."""
    number = raw.get("image_number")
    if number is None:
        return 0
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= num_images:
        raise RowError(
            "bad image number",
            f"{where}: image_number {show_value(number)} is not a whole number from 1 to the "
            f"{num_images} images of the row",
        )
    return number - 1


def _parse_truth(task: str, raw: dict[str, Any], where: str, size: tuple[int, int]) -> Truth:
    _refuse_truths_of_others(task, raw, where)
    return TASKS[task].parse_truth(raw, where, size)


def _refuse_truths_of_others(task: str, raw: dict[str, Any], where: str) -> None:
    for other in TASKS.values():
        for key in other.truth_keys:
            value = raw.get(key)
            if value is not None and key not in TASKS[task].keys and not is_note(key, value):
                raise RowError(
                    "key of another task",
                    f"{where}: {key} beside task {task} is not read: it is the truth of task "
                    f"{other.name}; {other.beside_others}remove {key}",
                )
