"""The metric along the setting that tells methods apart, a line for each objective.

Where the setting is the size of the lists and the metric the reward, the start's best of so many
samples stands beside them: what lists of that size have to teach (PerPO, arXiv 2502.04371, figure
on list size).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from perpo_core.evidence.page.marks import DASHES, START_MARK, Key, Mark, zip_marks
from perpo_core.evidence.page.setting_axis import Line, SettingAxis
from perpo_core.evidence.page.tables import get_metric
from perpo_core.report.plots import ROUND_STEPS
from perpo_core.report.svg import MUTED
from schemas.comparison import ComparisonReport, MethodResult, Reading

WIDE = 12
"""From this largest to smallest value on the axis has equal steps for equal ratios."""
LIST_SIZE, REWARD = "lists.list_size", "greedy_reward"
BEST = Key("best of so many samples of the start", Mark(MUTED, "^", DASHES[2]))

Point = tuple[float, Reading]


def list_setting_keys(report: ComparisonReport, axis: SettingAxis) -> tuple[Key, ...]:
    """The legend."""
    best = (BEST,) if _list_best(report, axis) else ()
    return (Key(report.start.label, START_MARK), *_list_line_keys(axis), *best)


def build_by_setting(report: ComparisonReport, axis: SettingAxis) -> Callable[[Axes], None]:
    """The metric by the setting's value, with the change's interval; a small dot for every seed."""
    start = _read_metric(report, report.start)

    def draw(axes: Axes) -> None:
        _draw_line(axes, [(x, start.value) for x in axis.places], START_MARK, marker="none")
        for key, line in zip(_list_line_keys(axis), axis.lines, strict=True):
            _draw_points(axes, list(_read_points(report, line)), start.value, key.mark)
        _draw_line(axes, _list_best(report, axis), BEST.mark)
        _label_axes(axes, axis)

    return draw


def _list_line_keys(axis: SettingAxis) -> list[Key]:
    return list(zip_marks([line.label for line in axis.lines]))


def _read_points(report: ComparisonReport, line: Line) -> Iterator[Point]:
    for place, method in line.points:
        yield place, _read_metric(report, method)


def _read_metric(report: ComparisonReport, method: MethodResult) -> Reading:
    return method.tasks[report.task].metrics[get_metric(report)]


def _list_best(report: ComparisonReport, axis: SettingAxis) -> list[tuple[float, float]]:
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


def _label_axes(axes: Axes, axis: SettingAxis) -> None:
    places = axis.places
    if places[0] > 0 and places[-1] >= WIDE * places[0]:
        axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.set_xlabel(axis.setting)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
