"""What the rounds gave, in sentences that follow from the intervals.

A change counts as better or worse only if its whole 95% interval lies on one side of zero. Each
interval stands for itself: over many rounds and tasks one in forty lies above zero by chance alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpo_core.report.formats import capitalise, format_number, format_signed, join
from perpo_core.report.summary import TASK_LABELS, Reading, compute_reading, label_metric
from schemas.artifact import Metric
from schemas.base import TaskName
from schemas.evidence_statistics import Headroom
from schemas.rounds import Round

READINGS: tuple[Reading, ...] = ("better", "worse", "no clear change")


def compute_verdict(rounds: Sequence[Round], num_asked: int) -> list[str]:
    """How the chain ended, then two sentences a task; [] before the first round is measured."""
    if not rounds:
        return []
    kept = [each for each in rounds if each.decision == "promoted"]
    told = kept or list(rounds)
    return [
        describe_ending(rounds, num_asked),
        *(describe_task(task, told[-1], rounds) for task in told[-1].tasks),
    ]


def describe_ending(rounds: Sequence[Round], num_asked: int) -> str:
    """How many rounds were promoted, and what ended them."""
    last = rounds[-1]
    num_promoted = sum(each.decision == "promoted" for each in rounds)
    said = f"{num_promoted} of {num_asked} {_count('round', num_asked)} promoted"
    match last.decision:
        case "promoted" if last.number < num_asked:
            return f"{said}, and round {last.number + 1} is still to come."
        case "promoted":
            return f"{said}."
        case "waiting for approval":
            return (
                f"{said}: the gates of round {last.number} passed, and it waits for a person; once "
                "it is approved the same command goes on."
            )
        case _:
            return f"{said}: round {last.number} was not, which ends them ({last.reason})."


def describe_task(task: TaskName, told: Round, rounds: Sequence[Round]) -> str:
    """Against the start after one round, and how every round did against the one before."""
    measured = told.tasks[task]
    name = measured.headline
    value = measured.against_start[name]
    return (
        f"{capitalise(TASK_LABELS[task])}: {label_metric(name)} is {format_number(value.trained)} "
        f"after round {told.number}, from {format_number(value.base)} at the start "
        f"({describe_change(value)}): {compute_reading(name, value)}. "
        f"{_describe_headroom(told, task)}"
        f"Each against the round before: {_describe_steps(task, rounds)}."
    )


def describe_change(value: Metric) -> str:
    """Such as "+0.031, 95% interval +0.016 to +0.047"."""
    low, high = format_signed(value.delta_low), format_signed(value.delta_high)
    return f"{format_signed(value.delta)}, 95% interval {low} to {high}"


def format_share(share: float | None) -> str:
    """In percent; "" for None."""
    return "" if share is None else f"{share:.0%}".replace("-", "\u2212")


def format_interval(headroom: Headroom) -> str:
    """In percent, such as "41% to 52%"."""
    return f"{format_share(headroom.low)} to {format_share(headroom.high)}"


def _describe_headroom(told: Round, task: TaskName) -> str:
    headroom = told.tasks[task].start_headroom
    if headroom is None:
        return f"The headroom to the start's best of {told.num_samples} is too small for a share. "
    closed = f"{format_share(headroom.closed)} is closed ({format_interval(headroom)})"
    return f"Of the headroom to the start's best of {told.num_samples}, {closed}. "


def _describe_steps(task: TaskName, rounds: Sequence[Round]) -> str:
    """Such as "better in round 1, no clear change in rounds 2 and 3"."""
    read: dict[Reading, list[str]] = {}
    for each in rounds:
        measured = each.tasks.get(task)
        if measured is not None:
            value = measured.against_before[measured.headline]
            read.setdefault(compute_reading(measured.headline, value), []).append(str(each.number))
    return ", ".join(_describe_reading(read)) or "not measured"


def _describe_reading(read: dict[Reading, list[str]]) -> Iterator[str]:
    for reading in READINGS:
        if numbers := read.get(reading):
            yield f"{reading} in {'rounds' if len(numbers) > 1 else 'round'} {join(numbers)}"


def _count(word: str, number: int) -> str:
    return word if number == 1 else f"{word}s"
