"""What every reward takes and returns.

A reward is a pure function of an answer's text, the truth, and what is needed to read the one
against the other. It knows no files, no model, no task queue. An answer it cannot read has no
reward but an error; whether that counts as 0 or leaves the list is the caller's choice.

Where several truths are accepted, an answer is worth what it is worth against the one that it is
closest to; a reward that weighs them all in its own way says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Protocol, TypedDict

from perpo_core.perception.boxes import Frame
from schemas.base import Section, TaskName
from schemas.config import CountReading

if TYPE_CHECKING:  # both are slow to import, and the command line asks for names only
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray


class Accepted(TypedDict):
    """One truth; the field of its task is set, the others are None."""

    box: list[float] | None
    """x1, y1, x2, y2, or a point x, y; 0-1 of the original image."""
    text: str | None
    count: int | None


class Target(Accepted):
    """The truth of a sample, or all that are accepted."""

    boxes: NotRequired[list[list[float]] | None]
    """Of a task that asks for any number of them; [] where none is there."""
    others: NotRequired[list[Accepted] | None]
    """Truths besides this one: an answer counts as it does against the one it is closest to."""
    image: NotRequired[int | None]
    """Which image of the prompt the boxes lie in, from 0; None: the first."""


def list_truths(target: Target) -> list[Target]:
    """All that are accepted, each as if it were the only one."""
    others = target.get("others") or []
    return [target, *(Target(box=o["box"], text=o["text"], count=o["count"]) for o in others)]


@dataclass(frozen=True)
class Reading:
    """How answers are read."""

    frame: Frame
    box_format: str
    collapse_whitespace: bool = True
    count_reading: CountReading = "digits"


Fault = Literal["answer", "reward", "server"]
"""Why there is no reward: the answer cannot be read; a reward's own code failed; nobody replied,
who may another time. The last two say nothing of the answer."""


@dataclass(frozen=True)
class RewardResult:
    """Either a reward in its range and what the parser saw, or an error."""

    reward: float | None
    parsed: Any = None
    """JSON-able."""
    error: str | None = None
    fault: Fault = "answer"
    """Of an error."""

    def __post_init__(self) -> None:
        assert (self.reward is None) == (self.error is not None)
        assert self.reward is None or math.isfinite(self.reward)


class Row(Protocol):
    """The sample that an answer belongs to, read when it is asked for."""

    @property
    def columns(self) -> dict[str, Any]:
        """As in schemas.arrow.SAMPLES."""
        ...

    @property
    def packs(self) -> Sequence[Path]:
        """Files that hold its images."""
        ...

    def read_images(self) -> list[bytes]:
        """Encoded, in the prompt's order."""
        ...


@dataclass(frozen=True)
class Item:
    """An answer, and what it is judged against."""

    text: str
    task: TaskName
    target: Target
    frame: Frame
    row: Row | None = field(default=None, compare=False, repr=False)
    """For rewards that want more than the truth; None where nobody has it."""


@dataclass(frozen=True)
class Question:
    """What answers are judged against."""

    task: TaskName
    target: Target
    frame: Frame


@dataclass(frozen=True)
class Answers:
    """N answers to M questions of one task, as columns."""

    texts_N: pa.StringArray
    numbers_N: NDArray[np.int64]
    """Which question each answers."""
    questions_M: Sequence[Question]
    readings_M: Sequence[Reading]


@dataclass(frozen=True)
class Results:
    """What RewardResult says, of K of the answers, as columns."""

    rows_K: NDArray[np.int64]
    """Which answers, ascending."""
    rewards_K: pa.DoubleArray
    """Null where there is an error."""
    parsed_K: pa.StringArray
    """JSON; null where there is nothing."""
    errors_K: pa.StringArray


@dataclass(frozen=True)
class Reward:
    """One way to say how good an answer is; more is better."""

    name: str
    compute: Callable[..., RewardResult]
    """Of (answer, target, reading), and of its options as a fourth where it has any."""
    low: float = 0.0
    """Range, both ends included."""
    high: float = 1.0
    options: type[Section] | None = None
    """Model of its options, all with defaults."""
    takes_all_truths: bool = False
    """Whether it reads target["others"] itself, or reads no truth."""
    compute_columns: Callable[..., Results] | None = None
    """The same as `compute`, to the last bit, of those Answers that can be judged all at once, and
    of its options where it has any. Questions have one truth unless it takes all."""

    def build_options(self, given: Mapping[str, Any] = MappingProxyType({})) -> Section | None:
        """Its options; None where it has none. Raises pydantic's ValidationError."""
        return self.options.model_validate(dict(given)) if self.options else None

    def compute_best(
        self, text: str, target: Target, reading: Reading, options: Section | None = None
    ) -> RewardResult:
        """Against the accepted truth that the answer is closest to; the first of several."""
        given = () if options is None else (options,)
        truths = [target] if self.takes_all_truths else list_truths(target)
        results = [self.compute(text, truth, reading, *given) for truth in truths]
        return max(results, key=lambda r: -math.inf if r.reward is None else r.reward)

    def compute_many(
        self, items: Sequence[Item], readings: Sequence[Reading], options: Section | None = None
    ) -> list[RewardResult]:
        """A result an item, whose reading stands beside it; for rewards that work on many at once
        to do otherwise."""
        return [
            self.compute_best(item.text, item.target, reading, options)
            for item, reading in zip(items, readings, strict=True)
        ]
