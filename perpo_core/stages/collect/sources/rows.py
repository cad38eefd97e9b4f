"""What every source yields: sample rows (schemas.arrow.SAMPLES) and rows that are set aside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from perpo_core.perception.tasks import Truth
from perpo_core.perception.truths.boxes import GivenBox
from perpo_core.store.keys import compute_prompt_id, compute_sample_id
from perpo_core.vision.brightness import Brightness
from schemas.base import Split, TaskName

SampleRow = dict[str, Any]


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


def build_messages(prompt: str) -> list[dict[str, Any]]:
    """The chat messages of one image and one question."""
    parts = [{"type": "image", "text": None}, {"type": "text", "text": prompt}]
    return [{"role": "user", "content": parts}]


def build_target(truth: Truth) -> dict[str, Any]:
    """The truth in the column of its task: a box (0-1), a text or a count."""
    return {
        "box": [float(value) for value in truth] if isinstance(truth, tuple) else None,
        "text": truth if isinstance(truth, str) else None,
        "count": truth if isinstance(truth, int) else None,
    }


def build_sample(
    task: TaskName,
    split: Split | None,
    image: bytes,
    image_id: str,
    size: tuple[int, int],
    prompt: str,
    truth: Truth,
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
