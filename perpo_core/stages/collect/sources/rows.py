"""What every source yields: sample rows (schemas.arrow.SAMPLES) and rows that are set aside."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from perpo_core.perception.boxes import Box
from perpo_core.store.keys import compute_prompt_id, compute_sample_id
from perpo_core.vision.brightness import Brightness
from schemas.base import Split, Task

SampleRow = dict[str, Any]
MAX_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class GivenBox:
    """Four numbers as a row gives them, whatever they mean."""

    key: str
    """box or box_norm."""
    numbers: Box
    size: tuple[int, int]
    """Width and height of the upright image in pixels."""


@dataclass
class Noted:
    """What a check counts over all rows, those that are set aside too: numbers, no images."""

    brightness: Brightness | None = None
    box: GivenBox | None = None


@dataclass(frozen=True)
class SetAside:
    """A row that does not become a sample, and why."""

    row: str
    """File and row, or whatever else finds it again."""
    reason: str
    """A few words, the same for all rows of the kind: counts are kept by it."""
    detail: str
    """One sentence with the value."""
    noted: Noted = field(default_factory=Noted)
    """As far as the row could be read."""


class RowError(ValueError):
    """A row that cannot become a sample: one sentence, and the reason it is counted under."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def build_messages(prompt: str) -> list[dict[str, Any]]:
    """The chat messages of one image and one question."""
    parts = [{"type": "image", "text": None}, {"type": "text", "text": prompt}]
    return [{"role": "user", "content": parts}]


def build_target(truth: Box | str | int) -> dict[str, Any]:
    """The truth in the column of its task: a box (0-1), a text or a count."""
    return {
        "box": [float(value) for value in truth] if isinstance(truth, tuple) else None,
        "text": truth if isinstance(truth, str) else None,
        "count": truth if isinstance(truth, int) else None,
    }


def build_sample(
    task: Task,
    split: Split | None,
    image: bytes,
    image_id: str,
    size: tuple[int, int],
    prompt: str,
    truth: Box | str | int,
    source: str,
    licence: str,
    row: str,
) -> SampleRow:
    """One row of SAMPLES; a split that is None is not settled yet.

    `image` are the bytes to store and `size` their (width, height) in pixels; `image_id` is
    hash_pixels of the image as received, before it was scaled down.
    """
    messages, target = build_messages(prompt), build_target(truth)
    prompt_id = compute_prompt_id([image], messages)
    return {
        "sample_id": compute_sample_id(prompt_id, target),
        "prompt_id": prompt_id,
        "task": task,
        "split": split,
        "image_id": image_id,
        "images": [{"bytes": image, "path": None}],
        "width": size[0],
        "height": size[1],
        "prompt": messages,
        "target": target,
        "source": source,
        "licence": licence,
        "row": row,
    }


def show_value(value: object) -> str:
    """A value for an error sentence: JSON, one line, ASCII, not too long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "..."
