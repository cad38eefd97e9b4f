"""The rounds as rows of tables: text that the page and the terminal show alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpo_core.report.formats import format_number, format_signed
from perpo_core.report.summary import Reading, compute_reading
from perpo_core.rounds.words import format_interval, format_share
from schemas.artifact import Metric
from schemas.base import TaskName
from schemas.rounds import Diversity, Round, TaskOfRound

ABSENT = ""
DIVERSITY_COLUMNS = (
    "answers a prompt", "different", "all worth the same", "best minus worst",
    "mean difference", "lists",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One metric between two policies."""

    delta: str
    interval: str
    reading: Reading


@dataclass(frozen=True)
class Row:
    """One task in one round, test split."""

    number: int
    decision: str
    headline: str
    against_before: Change
    against_start: Change
    greedy: str
    expected: str
    best_of_n: str
    own_headroom: str
    start_headroom: str
    start_headroom_interval: str


def build_change(name: str, value: Metric) -> Change:
    """The change of a metric, its interval, and what that says."""
    low, high = format_signed(value.delta_low), format_signed(value.delta_high)
    return Change(format_signed(value.delta), f"{low} to {high}", compute_reading(name, value))


def build_rows(task: TaskName, rounds: Sequence[Round]) -> list[Row]:
    """The rounds that measured the task, in order."""
    return [_build_row(each, each.tasks[task]) for each in rounds if task in each.tasks]


def build_start(task: TaskName, rounds: Sequence[Round]) -> dict[str, str]:
    """Metric -> value of the policy that the first round began with."""
    first = next(each.tasks[task] for each in rounds if task in each.tasks)
    return {name: format_number(value.base) for name, value in first.against_start.items()}


def _build_row(each: Round, of: TaskOfRound) -> Row:
    trained = {name: format_number(value.trained) for name, value in of.against_start.items()}
    return Row(
        number=each.number,
        decision=each.decision,
        headline=trained[of.headline],
        against_before=build_change(of.headline, of.against_before[of.headline]),
        against_start=build_change(of.headline, of.against_start[of.headline]),
        greedy=trained["greedy_reward"],
        expected=trained["sampled_reward"],
        best_of_n=trained["best_of_n"],
        own_headroom=format_share(of.headroom_closed) or "none",
        start_headroom=format_share(of.start_headroom.closed) if of.start_headroom else "none",
        start_headroom_interval=format_interval(of.start_headroom) if of.start_headroom else "",
    )


def build_diversity_rows(task: TaskName, rounds: Sequence[Round]) -> list[tuple[int, list[str]]]:
    """(round, cells below DIVERSITY_COLUMNS), in order."""
    return [
        (each.number, [*_describe(each.tasks[task].diversity), f"{each.tasks[task].num_lists:,}"])
        for each in rounds
        if task in each.tasks
    ]


def _describe(diversity: Diversity | None) -> list[str]:
    if diversity is None:
        return [ABSENT] * (len(DIVERSITY_COLUMNS) - 1)
    numbers = (diversity.reward_gap, diversity.reward_difference)
    return [
        f"{diversity.num_answers:.1f}",
        f"{diversity.num_different:.2f}",
        format_share(diversity.equal_share),
        *(ABSENT if number is None else format_number(number) for number in numbers),
    ]
