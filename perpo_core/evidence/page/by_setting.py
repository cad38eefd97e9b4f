"""Methods along the one setting that tells them apart: list size, beta, how many lists.

Where that is the size of the lists and the metric the reward, the start's best of so many samples
stands beside it: what lists of that size have to teach (PerPO, arXiv 2502.04371, figure on list
size).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from pydantic import JsonValue

from perpo_core.evidence.page.marks import COLOURS, DASHES, START_MARK, Key, Mark
from perpo_core.evidence.page.tables import get_metric
from perpo_core.report.plots import ROUND_STEPS
from schemas.comparison import ComparisonReport, MethodResult, Reading

LEAST = 3
"""Fewer methods are no line."""
WIDE = 12
"""From this largest to smallest value on the axis has equal steps for equal ratios."""
LIST_SIZE, REWARD = "lists.list_size", "greedy_reward"
TRAINED = Key("trained", Mark(COLOURS[0], "s"))
BEST = Key("best of so many samples of the start", Mark(COLOURS[1], "^", DASHES[2]))

Point = tuple[float, Reading]


def find_setting(report: ComparisonReport) -> str | None:
    """The first of the methods' own settings that is another number for each of them.

    None where they differ in anything but numbers, such as the objective, or are too few.
    """
    swept = {name for m in report.methods for point in m.sweep for name in point.settings}
    own = [{k: v for k, v in m.settings.items() if k not in swept} for m in report.methods]
    if len(own) < LEAST or any(settings.keys() != own[0].keys() for settings in own):
        return None
    values = {name: [settings[name] for settings in own] for name in own[0]}
    differ = {name: found for name, found in values.items() if found != found[:1] * len(found)}
    if not all(_is_number(value) for found in differ.values() for value in found):
        return None
    return next((name for name, found in differ.items() if len(set(found)) == len(found)), None)


def list_setting_keys(report: ComparisonReport, setting: str) -> tuple[Key, ...]:
    """The legend."""
    best = (BEST,) if _list_best(report, setting) else ()
    return (Key(report.start.label, START_MARK), TRAINED, *best)


def build_by_setting(report: ComparisonReport, setting: str) -> Callable[[Axes], None]:
    """The metric by the setting's value, with the change's interval; a small dot for every seed."""
    points, start = _list_points(report, setting), _read_metric(report, report.start)

    def draw(axes: Axes) -> None:
        places = [place for place, _ in points]
        _draw_line(axes, [(place, start.value) for place in places], START_MARK, marker="none")
        _draw_points(axes, points, start.value)
        _draw_line(axes, _list_best(report, setting), BEST.mark)
        _label_setting(axes, setting, places)

    return draw


def _list_points(report: ComparisonReport, setting: str) -> list[Point]:
    points = [
        (value, _read_metric(report, method))
        for method in report.methods
        if _is_number(value := method.settings[setting])
    ]
    return sorted(points, key=lambda point: point[0])


def _is_number(value: JsonValue) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_metric(report: ComparisonReport, method: MethodResult) -> Reading:
    return method.tasks[report.task].metrics[get_metric(report)]


def _list_best(report: ComparisonReport, setting: str) -> list[tuple[float, float]]:
    """(list size, expected reward of the best of so many)."""
    if setting != LIST_SIZE or get_metric(report) != REWARD:
        return []
    curve = report.start.tasks[report.task].best_of_n
    sizes = [int(value) for value, _ in _list_points(report, setting)]
    return [(size, curve[size - 1]) for size in sizes if size <= len(curve)]


def _draw_points(axes: Axes, points: Sequence[Point], start: float) -> None:
    colour = TRAINED.mark.colour
    for place, reading in points:
        if change := reading.change:
            ends = [start + change.low, start + change.high]
            axes.plot([place, place], ends, color=colour, linewidth=1.0)
        seeds = reading.per_seed if len(reading.per_seed) > 1 else []
        axes.plot([place] * len(seeds), seeds, color=colour, marker="o", linestyle="none",
                  markersize=2.4)  # fmt: skip
    _draw_line(axes, [(place, reading.value) for place, reading in points], TRAINED.mark)


def _draw_line(axes: Axes, points: Sequence[tuple[float, float]], mark: Mark, **style: str) -> None:
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        **{**mark.settings, "linewidth": 1.1, "markersize": 3.8, **style},
    )


def _label_setting(axes: Axes, setting: str, places: Sequence[float]) -> None:
    if places[0] > 0 and places[-1] >= WIDE * places[0]:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlabel(setting)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
