"""Methods along the one setting that tells them apart: list size, beta, how many lists.

A line for every combination of what is no number, such as the objective. Where the setting is the
size of the lists and the metric the reward, the start's best of so many samples stands beside them:
what lists of that size have to teach (PerPO, arXiv 2502.04371, figure on list size).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from pydantic import JsonValue

from perpo_core.evidence.page.marks import DASHES, START_MARK, Key, Mark, zip_marks
from perpo_core.evidence.page.tables import get_metric
from perpo_core.report.plots import ROUND_STEPS
from perpo_core.report.svg import MUTED
from schemas.comparison import ComparisonReport, MethodResult, Reading, Settings

LEAST = 3
"""Fewer methods are no line."""
WIDE = 12
"""From this largest to smallest value on the axis has equal steps for equal ratios."""
LIST_SIZE, REWARD = "lists.list_size", "greedy_reward"
BEST = Key("best of so many samples of the start", Mark(MUTED, "^", DASHES[2]))

Point = tuple[float, Reading]


@dataclass(frozen=True)
class Axis:
    """What methods stand over, and those that differ in nothing but numbers together."""

    setting: str
    lines: dict[str, list[MethodResult]]
    """Label -> methods, ascending in the setting."""

    @property
    def places(self) -> list[float]:
        methods = (method for line in self.lines.values() for method in line)
        return sorted({_get_number(method.settings, self.setting) for method in methods})


def find_axis(report: ComparisonReport) -> Axis | None:
    """The first of the methods' own settings that is another number for each of a line.

    None where there is none, where a line would be of too few methods, and where lines would not
    stand over the same numbers.
    """
    groups = _group(report)
    if any(len(methods) < LEAST for methods in groups.values()):
        return None
    for name in report.methods[0].settings:
        values = [[m.settings.get(name) for m in methods] for methods in groups.values()]
        if all(map(_is_axis, values)) and len({tuple(sorted(map(str, v))) for v in values}) == 1:
            return Axis(name, _order(groups, name))
    return None


def _group(report: ComparisonReport) -> dict[str, list[MethodResult]]:
    """Methods by those of their settings that are no numbers, as JSON; what was swept left out."""
    swept = {name for m in report.methods for point in m.sweep for name in point.settings}
    groups: defaultdict[str, list[MethodResult]] = defaultdict(list)
    for method in report.methods:
        own = {name: value for name, value in method.settings.items() if name not in swept}
        words = {name: value for name, value in own.items() if not _is_number(value)}
        groups[json.dumps(words, sort_keys=True)].append(
            method.model_copy(update={"settings": own})
        )
    return groups


def _order(groups: dict[str, list[MethodResult]], name: str) -> dict[str, list[MethodResult]]:
    lines = [sorted(each, key=lambda m: _get_number(m.settings, name)) for each in groups.values()]
    return dict(zip(_name_groups(list(groups)), lines, strict=True))


def list_setting_keys(report: ComparisonReport, axis: Axis) -> tuple[Key, ...]:
    """The legend."""
    best = (BEST,) if _list_best(report, axis) else ()
    return (Key(report.start.label, START_MARK), *zip_marks(list(axis.lines)), *best)


def build_by_setting(report: ComparisonReport, axis: Axis) -> Callable[[Axes], None]:
    """The metric by the setting's value, with the change's interval; a small dot for every seed."""
    start = _read_metric(report, report.start)

    def draw(axes: Axes) -> None:
        _draw_line(axes, [(x, start.value) for x in axis.places], START_MARK, marker="none")
        for key, methods in zip(zip_marks(list(axis.lines)), axis.lines.values(), strict=True):
            points = [
                (_get_number(method.settings, axis.setting), _read_metric(report, method))
                for method in methods
            ]
            _draw_points(axes, points, start.value, key.mark)
        _draw_line(axes, _list_best(report, axis), BEST.mark)
        _label_axes(axes, axis)

    return draw


def _is_axis(values: Sequence[JsonValue]) -> bool:
    return all(map(_is_number, values)) and len(set(map(str, values))) == len(values)


def _is_number(value: JsonValue) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _get_number(settings: Settings, name: str) -> float:
    value = settings[name]
    assert _is_number(value), f"{name} = {value} is no number"
    return value


def _name_groups(groups: Sequence[str]) -> Iterator[str]:
    """By the words that they do not share; "trained" where there is one group."""
    words = [json.loads(group).items() for group in groups]
    for own in words:
        apart = [str(v) for k, v in own if any((k, v) not in other for other in words)]
        yield ", ".join(apart) or "trained"


def _read_metric(report: ComparisonReport, method: MethodResult) -> Reading:
    return method.tasks[report.task].metrics[get_metric(report)]


def _list_best(report: ComparisonReport, axis: Axis) -> list[tuple[float, float]]:
    """(list size, expected reward of the best of so many)."""
    if axis.setting != LIST_SIZE or get_metric(report) != REWARD:
        return []
    curve = report.start.tasks[report.task].best_of_n
    return [(size, curve[int(size) - 1]) for size in axis.places if size <= len(curve)]


def _draw_points(axes: Axes, points: Sequence[Point], start: float, mark: Mark) -> None:
    for place, reading in points:
        if change := reading.change:
            ends = [start + change.low, start + change.high]
            axes.plot([place, place], ends, color=mark.colour, linewidth=1.0)
        seeds = reading.per_seed if len(reading.per_seed) > 1 else []
        axes.plot([place] * len(seeds), seeds, color=mark.colour, marker="o", linestyle="none",
                  markersize=2.4)  # fmt: skip
    _draw_line(axes, [(place, reading.value) for place, reading in points], mark)


def _draw_line(axes: Axes, points: Sequence[tuple[float, float]], mark: Mark, **style: str) -> None:
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        **{**mark.settings, "linewidth": 1.1, "markersize": 3.8, **style},
    )


def _label_axes(axes: Axes, axis: Axis) -> None:
    places = axis.places
    if places[0] > 0 and places[-1] >= WIDE * places[0]:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlabel(axis.setting)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
