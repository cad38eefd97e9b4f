"""What a task is: all that the rest of the house asks of one, in one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from perpo_core.perception.boxes import Box, Frame
from perpo_core.perception.degrading import Degrader
from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.legibility import Harm
from perpo_core.perception.rewards.base import Target
from perpo_core.perception.truths.boxes import GivenBox
from perpo_core.perception.truths.row import Raw, Size

if TYPE_CHECKING:  # numpy is slow to import, and the command line asks for names only
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]
Shape = Box | tuple[float, float]
"""What is drawn over an image: a box, or a point x, y; in 0-1 of its width and height."""
Truth = Shape | str | int | list[Box]
"""A shape, a text, a count or any number of boxes; each has a column of its own in the samples."""


@dataclass(frozen=True)
class GreedyMetric:
    """A number that a task reports of its greedy answers."""

    label: str
    """As a person would say it."""
    compute: Callable[[Values], Values]
    """From the measures of the greedy answers [P], those of unreadable ones 0, one value a prompt
    [P]."""
    lower_is_better: bool = False


@dataclass(frozen=True)
class Look:
    """How a task's curves and bars are drawn in reports."""

    light: str
    """CSS colour on a light page."""
    dark: str
    line: Literal["-", "--", ":", "-."]


@dataclass(frozen=True)
class WrittenTruth:
    """The truth as the policy would have to answer."""

    text: str
    """An answer; of several that are accepted, one that the measure gives most."""
    least: float = 1.0
    """What the measure has to give it: 1, or less by what the box format rounds, or by votes."""


@dataclass(frozen=True)
class Task:
    """A kind of question, and all that is particular to it."""

    name: str
    label: str
    rewards: tuple[str, ...]
    """Names of those that fit, beside GENERAL ones; the first is the default."""
    measure: str
    """The reward that metrics are computed from, whatever the policy is rewarded with."""
    metrics: Mapping[str, GreedyMetric]
    headline: str
    """The metric that is told first."""

    truth_keys: tuple[str, ...]
    """Keys of a JSON Lines row that hold its truth; rows of other tasks may not have them."""
    parse_truth: Callable[[Raw, str, Size], Truth]
    """The truth of a row that lies at `where`, about an image of this size; raises RowError."""
    write_truth: Callable[[Target, str, Frame], WrittenTruth]
    """(truth, box format, frame) -> the answer that is right, for a look at conventions."""
    several_keys: tuple[str, ...] = ()
    """The truth keys that may hold a list of truths, any of which is right: parsed one by one."""
    detail_keys: tuple[str, ...] = ()
    """Further keys that may stand beside them."""
    beside_others: str = ""
    """What to do where a row of another task has a truth of this one, e.g. "cut the image, or "."""
    other_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Key -> what other formats call it: named where the key is missing."""
    find_given_box: Callable[[Raw, Size], GivenBox | None] | None = None
    """A row's box as it is given, for the doctor's look at conventions."""

    get_words: Callable[[Target], str] = lambda target: ""
    """The truth in words; not asked for where it is drawn."""
    read_words: Callable[[str, Target], str | None] = lambda text, target: find_answer(text)[0]
    """(answer, truth) -> the part of it that is judged; None where nothing is."""
    marks_differences: bool = False
    """Whether an answer is shown with what differs from the truth marked."""
    get_shapes: Callable[[Target], list[Shape]] | None = None
    """The truth as it is drawn; None where nothing ever is."""
    read_shapes: Callable[[str, str, Frame], list[Shape]] | None = None
    """(answer, box format, frame) -> what it states, for drawing and `doctor --probe`."""
    describe_writing: Callable[[str], str] | None = None
    """Given how the box format writes a box, how answers are written, for a model card."""
    find_harm: Callable[[Target, Size, Size], Harm | None] = lambda target, size, small: None
    """(truth, size, smaller size) -> what scaling the image down does to what is asked."""
    degrader: Degrader | None = None
    """How an answer is made worse by known degrees; None where nothing of the kind is known."""
    look: Look = Look("#555555", "#aaaaaa", "-")

    @property
    def keys(self) -> tuple[str, ...]:
        """Of a JSON Lines row."""
        return self.truth_keys + self.detail_keys

    @property
    def default_reward(self) -> str:
        """Used where the configuration names none."""
        return self.rewards[0]


def get_text(target: Target) -> str:
    """The true text of a task that has one: a page, an object as canonical JSON, a table."""
    assert target["text"] is not None
    return target["text"]


def write_text(target: Target, box_format: str, frame: Frame) -> WrittenTruth:
    """The true text as an answer: as it is."""
    del box_format, frame
    return WrittenTruth(get_text(target))


def as_values(is_true_P: NDArray[np.bool_]) -> Values:
    """1 where it is true, else 0."""
    return is_true_P.astype("float64")
