"""Counting: how many there are, 0 included."""

from __future__ import annotations

from perpo_core.perception.boxes import Frame
from perpo_core.perception.degrading import COUNT
from perpo_core.perception.legibility import Harm, find_side_harm
from perpo_core.perception.rewards.base import Target
from perpo_core.perception.tasks.base import (
    GreedyMetric,
    Look,
    Task,
    WrittenTruth,
    as_values,
)
from perpo_core.perception.truths.counts import parse_count
from perpo_core.perception.truths.row import Size
from perpo_core.perception.truths.texts import OTHER_NAMES


def write_truth(target: Target, box_format: str, frame: Frame) -> WrittenTruth:
    """The count in digits, which every reading takes."""
    del box_format, frame
    return WrittenTruth(str(target["count"]))


def find_harm(target: Target, size: Size, small: Size) -> Harm | None:
    """What scaling down does to whatever is counted."""
    del target
    return find_side_harm(size, small)


COUNTING = Task(
    name="counting",
    label="counting",
    rewards=("count_accuracy", "exact_match", "number_within_tolerance"),
    measure="count_accuracy",  # which is 1 exactly where the count is right
    metrics={"accuracy": GreedyMetric("accuracy", lambda right_P: as_values(right_P == 1))},
    headline="accuracy",
    truth_keys=("answer",),
    several_keys=("answer",),
    other_names={"answer": OTHER_NAMES},
    parse_truth=parse_count,
    write_truth=write_truth,
    get_words=lambda target: str(target["count"]),
    find_harm=find_harm,
    degrader=COUNT,
    look=Look("#2e7d5b", "#5cc49a", ":"),
)
