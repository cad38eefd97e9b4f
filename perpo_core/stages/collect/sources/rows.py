"""What every source yields: sample rows (schemas.arrow.SAMPLES) and rows that are set aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from perpo_core.perception.tasks import Truth
from perpo_core.perception.truths.boxes import GivenBox
from perpo_core.store.keys import compute_prompt_id, compute_sample_id
from perpo_core.vision.brightness import Brightness
from perpo_core.vision.images import StoredImage
from schemas.base import Split, TaskName

SampleRow = dict[str, Any]
KnownImages = Mapping[str, StoredImage]
"""sha256 of a file -> what the store has of its image."""
NOTHING: KnownImages = {}


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
    is_sound: bool = False
    """Nothing is wrong with it: the source does not ask about such records."""


class Chunk(Protocol):
    """Consecutive rows of a source, which become a part of the samples."""

    def iterate(self) -> Iterator[SampleRow | SetAside]:
        """The rows, built one by one."""

    def identify(self) -> Any:
        """JSON that is equal only where the samples are; None where that cannot be told.

        Before the rows are built it is foreseen, as far as it can be.
        """

    def adopt(self, rows: Sequence[str], sample_ids: Sequence[str]) -> list[SetAside] | None:
        """Take samples of the same identity, `row` and `sample_id` of each, instead of building.

        What is set aside; None where the samples would be others now.
        """

    def list_images(self) -> Iterator[RowImage]:
        """The images of the samples that were taken."""


@dataclass(frozen=True)
class Composed:
    """Rows that no file holds: they are built whenever they are asked for."""

    rows: Iterator[SampleRow | SetAside]

    def iterate(self) -> Iterator[SampleRow | SetAside]:
        return self.rows

    def identify(self) -> Any:
        return None

    def adopt(self, rows: Sequence[str], sample_ids: Sequence[str]) -> list[SetAside] | None:
        del rows, sample_ids
        return None

    def list_images(self) -> Iterator[RowImage]:
        yield from ()


def build_messages(prompt: str) -> list[dict[str, Any]]:
    """The chat messages of one image and one question."""
    parts = [{"type": "image", "text": None}, {"type": "text", "text": prompt}]
    return [{"role": "user", "content": parts}]


def build_target(truths: Sequence[Truth], image_number: int = 0) -> dict[str, Any]:
    """Every truth in the column of its task: a box (0-1), a text, a count, boxes.

    Columns that few rows need are there only where they say something: ids hash what is there.
    `image_number`: from 0, of the image that boxes lie in.
    """
    first, *others = truths
    target: dict[str, Any] = _build_accepted(first)
    if isinstance(first, list):
        target["boxes"] = [[float(value) for value in box] for box in first]
    if others:
        target["others"] = [_build_accepted(truth) for truth in others]
    if image_number:
        target["image"] = image_number
    return target


def _build_accepted(truth: Truth) -> dict[str, Any]:
    return {
        "box": [float(value) for value in truth] if isinstance(truth, tuple) else None,
        "text": truth if isinstance(truth, str) else None,
        "count": truth if isinstance(truth, int) else None,
    }


@dataclass(frozen=True)
class RowImage:
    """An image of a row, and the sha256 of the file that it was read from."""

    stored: StoredImage
    file_hash: str


def build_sample(
    task: TaskName,
    split: Split | None,
    images: Sequence[RowImage],
    messages: list[dict[str, Any]],
    truths: Sequence[Truth],
    source: str,
    licence: str,
    row: str,
    image_number: int = 0,
) -> SampleRow:
    """One row of SAMPLES; a split that is None is not settled yet.

    One key more, `row_images`, hands its images on. Width and height are those of the image that
    boxes lie in.
    """
    hashes = [image.stored.image_hash for image in images]
    prompt_id = compute_prompt_id(hashes, messages)
    target = build_target(truths, image_number)
    asked_about = images[image_number].stored
    return {
        "sample_id": compute_sample_id(prompt_id, target),
        "prompt_id": prompt_id,
        "task": task,
        "split": split,
        "image_id": asked_about.pixels_hash,
        "images": hashes,
        "width": asked_about.width,
        "height": asked_about.height,
        "prompt": messages,
        "target": target,
        "source": source,
        "licence": licence,
        "row": row,
        "row_images": list(images),
    }
