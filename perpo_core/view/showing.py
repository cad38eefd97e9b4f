"""A question and its answers as they are shown: messages, truths, pictures with what is drawn.

Truths are read from the target itself, so that every accepted one shows, whatever the task. Texts
go through perpo_core/report/pictures.py, which makes visible what would reorder or hide others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perpo_core.perception.frames import Framer
from perpo_core.perception.tasks import TASKS
from perpo_core.report.cards import EMPTY, Drawn, draw_shape, mark_differences
from perpo_core.report.pictures import CRISP_SIDE, show_lines
from perpo_core.store.packs import Images
from schemas.base import BoxFormatName

TEXT_LIMIT = 4_000  # characters of a message or an answer
SHORT_LIMIT = 400  # of an error, a detail, a name
MAX_SHAPES = 200  # over one image
MAX_TRUTHS = 24
MAX_IMAGES, MAX_MESSAGES = 16, 64  # of one prompt
Row = Mapping[str, Any]


@dataclass(frozen=True)
class ShownImage:
    """An image of a prompt and what lies over it."""

    image_hash: str
    number: int
    """In its prompt, from 1."""
    size: tuple[int, int] | None
    """Pixels; None for an image that is in no pack of the run."""
    shapes: list[Drawn]

    @property
    def is_crisp(self) -> bool:
        """Whether it is enlarged without smoothing."""
        return self.size is not None and max(self.size) <= CRISP_SIDE


@dataclass(frozen=True)
class Message:
    """One turn of a prompt: (kind, text) in order; of an image the text is its number."""

    role: str
    parts: list[tuple[str, str]]


@dataclass(frozen=True)
class Question:
    """A sample: what was asked, and all that is true."""

    sample_id: str
    task: str
    split: str
    messages: list[Message]
    images: list[ShownImage]
    truths: list[str]
    num_left_out: int
    """Images and messages beyond what one page shows."""


@dataclass(frozen=True)
class Tile:
    """One answer, beside others to the same question."""

    role: str
    """best, middle, worst, base, trained or out (in no list): its colour and dashes."""
    label: str
    pieces: list[tuple[str, bool]]
    """(text, does it differ from the truth?)"""
    reward: float | None
    parts: list[tuple[str, float | None]]
    """Rewards by name, where more than one was computed."""
    error: str
    note: str
    image: ShownImage | None
    """The image that boxes lie in, with the truth and this answer; None where none is drawn."""


@dataclass(frozen=True)
class Showing:
    """What is needed to draw the rows of one run."""

    images: Images | None
    """None where the samples are gone."""
    box_format: BoxFormatName
    build_frame: Framer | None
    """None where the policy that says how boxes are read is gone."""

    def build_question(self, row: Row, split: str = "") -> Question:
        """Of a row with sample_id, task, images, prompt and target."""
        hashes, messages = row["images"] or [], row["prompt"] or []
        over = max(0, len(hashes) - MAX_IMAGES) + max(0, len(messages) - MAX_MESSAGES)
        images = [
            self._show_image(image_hash, number, _draw_truth(row, number))
            for number, image_hash in enumerate(hashes[:MAX_IMAGES], start=1)
        ]
        return Question(
            row["sample_id"], row["task"], split, _show_messages(messages[:MAX_MESSAGES]), images,
            describe_truths(row["target"]), over,
        )  # fmt: skip

    def build_tile(
        self,
        row: Row,
        text: str,
        role: str,
        label: str,
        reward: float | None,
        rewards: Iterable[tuple[str, float | None]] = (),
        error: str | None = None,
        note: str = "",
    ) -> Tile:
        """An answer to the question of a row."""
        parts = list(rewards)
        return Tile(
            role, label, _show_answer(row, text), reward, parts if len(parts) > 1 else [],
            show_lines(error or "", SHORT_LIMIT), show_lines(note, SHORT_LIMIT),
            self._draw_answer(row, text, role),
        )  # fmt: skip

    def _draw_answer(self, row: Row, text: str, role: str) -> ShownImage | None:
        task, number = TASKS.get(row["task"]), _find_number(row["target"])
        hashes = row["images"] or []
        if task is None or task.read_shapes is None or not 1 <= number <= len(hashes):
            return None
        shown = self._show_image(hashes[number - 1], number, _draw_truth(row, number))
        if shown.size is None or self.build_frame is None:
            return shown
        found = task.read_shapes(text, self.box_format, self.build_frame(*shown.size))
        drawn = [draw_shape(role, shape) for shape in found]
        return replace(shown, shapes=[*shown.shapes, *drawn][:MAX_SHAPES])

    def _show_image(self, image_hash: str, number: int, shapes: list[Drawn]) -> ShownImage:
        try:
            size = self.images.measure(image_hash) if self.images is not None else None
        except KeyError:
            size = None
        return ShownImage(image_hash, number, size, shapes)


def _show_messages(messages: Sequence[Row]) -> list[Message]:
    shown, number = [], 0
    for message in messages:
        parts = []
        for part in message["content"] or ():
            if part["type"] == "image":
                number += 1
                parts.append(("image", str(number)))
            elif part["text"]:
                parts.append(("text", show_lines(part["text"], TEXT_LIMIT)))
        shown.append(Message(show_lines(message["role"] or "", SHORT_LIMIT), parts))
    return shown


def _show_answer(row: Row, text: str) -> list[tuple[str, bool]]:
    """The whole answer; what differs from the truth is marked where all of it is judged, by one."""
    task, others = TASKS.get(row["task"]), row["target"].get("others")
    if task is not None and task.marks_differences and text and not others:
        stated = task.read_words(text, row["target"])
        if stated is not None and stated.strip() == text.strip():
            return mark_differences(task.get_words(row["target"]), stated)
    shown = show_lines(text, TEXT_LIMIT)
    return [(shown, False)] if shown else []


def describe_truths(target: Row) -> list[str]:
    """Every accepted truth in words, with how often it was given; boxes in 0-1 of the image."""
    described = [_describe(each) for each in (target, *(target.get("others") or ()))]
    counts = Counter(each for each in described if each is not None)  # people agree
    found = [f"{each} (\u00d7{count})" if count > 1 else each for each, count in counts.items()]
    boxes = target.get("boxes")
    if boxes is not None:
        found.append(f"{len(boxes)} boxes" if len(boxes) != 1 else "1 box")
    more = [f"{len(found) - MAX_TRUTHS} more"] if len(found) > MAX_TRUTHS else []
    return found[:MAX_TRUTHS] + more


def _describe(accepted: Row) -> str | None:
    if accepted.get("text") is not None:
        return show_lines(accepted["text"], TEXT_LIMIT) or EMPTY
    if accepted.get("count") is not None:
        return str(accepted["count"])
    box = accepted.get("box")
    return None if box is None else "[" + ", ".join(f"{value:.3f}" for value in box) + "]"


def _draw_truth(row: Row, number: int) -> list[Drawn]:
    """What is true of an image of the prompt, as far as it lies in it."""
    target = row["target"]
    if number != _find_number(target):
        return []
    boxes = [each.get("box") for each in (target, *(target.get("others") or ()))]
    boxes += target.get("boxes") or []
    return [draw_shape("truth", box) for box in boxes if box][:MAX_SHAPES]


def _find_number(target: Row) -> int:
    """Which image of its prompt a truth's boxes lie in, from 1."""
    return (target.get("image") or 0) + 1
