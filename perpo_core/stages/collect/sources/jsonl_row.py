"""One row of a JSON Lines source: what it must say, and one sentence for everything it may not.

Keys: image, task, prompt; the task's truth (perpo_core/perception/tasks); optional split, width,
height, source, licence. Further keys are the user's own, unless they would change what is asked or
true (jsonl_keys.py). Boxes leave here in the internal form: 0-1 of the upright original image.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from perpo_core.perception.tasks import TASKS, Truth
from perpo_core.perception.truths.row import RowError, get_text, show_value
from perpo_core.perception.visible import has_visible
from perpo_core.stages.collect.sources.jsonl_keys import is_note
from perpo_core.stages.collect.sources.jsonl_texts import get_note, parse_choice, parse_prompt
from schemas.base import SPLITS, Split, TaskName


@dataclass(frozen=True)
class ParsedRow:
    """What a row says, checked."""

    task: TaskName
    split: Split | None
    prompt: str
    truth: Truth
    source: str
    licence: str


class ImageFolder:
    """The folder of a file, in which the images of its rows lie; links are followed.

    Of each folder below it is asked once where it really is: rows by the hundred thousand share it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._home = str(folder), os.path.realpath(folder)
        self._real_of: dict[str, str] = {}

    def find(self, raw: dict[str, Any], where: str) -> str:
        """Where the row's image lies. Raises RowError for one outside of the folder."""
        name = get_text(raw, "image", where, "image missing")
        if not has_visible(name):
            raise RowError(
                "image missing", f"{where}: image {show_value(name)} is empty; give a path"
            )
        if "\0" in name or os.path.isabs(name):
            raise RowError(
                "image outside the folder",
                f"{where}: image {show_value(name)} is not a path relative to the file's folder",
            )
        path = self._follow(os.path.join(self._folder, name))
        if path != self._home and not path.startswith(self._home.rstrip("/") + "/"):
            raise RowError(
                "image outside the folder",
                f"{where}: image {show_value(name)} leads out of {self._home}; put the image into "
                "that folder",
            )
        return path

    def _follow(self, path: str) -> str:
        """os.path.realpath, which unlike Path.resolve also answers for a loop of links."""
        parent, name = os.path.split(path)
        if name in ("", ".", "..") or os.path.islink(path):
            return os.path.realpath(path)
        real = self._real_of.get(parent)
        if real is None:
            real = self._real_of[parent] = os.path.realpath(parent)
        return os.path.join(real, name)


def parse_row(raw: dict[str, Any], where: str, size: tuple[int, int]) -> ParsedRow:
    """The row, checked against its image's (width, height) in pixels. Raises RowError."""
    task = parse_choice(raw, "task", tuple(TASKS), where, "unknown task")
    split = None
    if raw.get("split") is not None:
        split = parse_choice(raw, "split", SPLITS, where, "unknown split")
    prompt = parse_prompt(raw, where)
    return ParsedRow(
        task=task,
        split=cast(Split | None, split),
        prompt=prompt,
        truth=_parse_truth(task, raw, where, size),
        source=get_note(raw, "source", where),
        licence=get_note(raw, "licence", where),
    )


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
