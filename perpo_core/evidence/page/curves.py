"""Curves of start and methods: accuracy by IoU, its change against the start, best of n."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from perpo_core.evidence.page.forest import format_tick
from perpo_core.evidence.page.marks import PAGE, Mark
from perpo_core.evidence.page.tables import list_contenders
from perpo_core.evidence.thresholds import PERCENTS
from perpo_core.report.plots import ROUND_STEPS
from perpo_core.report.svg import MUTED
from schemas.base import TaskName
from schemas.comparison import ComparisonReport, MethodResult, Reading

SPREAD = 0.72  # of the distance between thresholds that all methods share
TICKS_N = (1, 2, 5, 10, 20, 50, 100, 200)
NUMBER_SHARE = 0.05
"""Of an axis' height that a method's number takes."""
GREEDY_N = 0.68
"""Where the greedy answer stands on the axis of n."""


def list_thresholds(report: ComparisonReport) -> list[int]:
    """Per cent of IoU that accuracy was measured at in the task that ranks."""
    metrics = report.start.tasks[report.task].metrics
    return [percent for percent in PERCENTS if f"acc_at_{percent}" in metrics]


def build_accuracy(report: ComparisonReport) -> Callable[[Axes], None]:
    """Accuracy by threshold; a small dot for every seed."""
    percents = list_thresholds(report)
    ious = [percent / 100 for percent in percents]

    def draw(axes: Axes) -> None:
        for key, method in list_contenders(report):
            readings = _read_accuracies(report, method, percents)
            for iou, reading in zip(ious, readings, strict=True):
                _draw_seeds(axes, iou, reading.per_seed, key.mark)
            axes.plot(ious, [reading.value for reading in readings], **_thin(key.mark))
        _number_ends(axes, report)
        _label_ious(axes, ious)

    return draw


def build_accuracy_change(report: ComparisonReport) -> Callable[[Axes], None]:
    """Change of accuracy against the start by threshold, with interval; a dot for every seed."""
    percents = list_thresholds(report)
    start = _read_accuracies(report, report.start, percents)
    methods = list_contenders(report)[1:]

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=MUTED, linewidth=0.9)
        for number, (key, method) in enumerate(methods):
            shift = 0.1 * SPREAD * ((number + 0.5) / len(methods) - 0.5)
            readings = _read_accuracies(report, method, percents)
            xs = [percent / 100 + shift for percent in percents]
            for x, reading, before in zip(xs, readings, start, strict=True):
                _draw_seeds(axes, x, [each - before.value for each in reading.per_seed], key.mark)
            _draw_changes(axes, xs, readings, key.mark)
        _label_ious(axes, [percent / 100 for percent in percents])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: format_tick(y)))

    return draw


def build_best_of_n(report: ComparisonReport, task: TaskName) -> Callable[[Axes], None]:
    """Expected reward of the best of n sampled answers, and the greedy answer's beside it."""

    def draw(axes: Axes) -> None:
        most = 1
        for key, method in list_contenders(report):
            found = method.tasks.get(task)
            if found is None:
                continue
            most = max(most, len(found.best_of_n))
            places = range(1, len(found.best_of_n) + 1)
            axes.plot(
                places,
                found.best_of_n,
                markevery=_find_ticks(len(found.best_of_n)),
                **_thin(key.mark),
            )
            if greedy := found.metrics.get("greedy_reward"):
                axes.plot([GREEDY_N], [greedy.value], **{**_thin(key.mark), "linestyle": "none"})
        _number_ends(axes, report)
        _label_n(axes, most)

    return draw


def _read_accuracies(
    report: ComparisonReport, method: MethodResult, percents: Sequence[int]
) -> list[Reading]:
    metrics = method.tasks[report.task].metrics
    return [metrics[f"acc_at_{percent}"] for percent in percents]


def _draw_changes(axes: Axes, xs: Sequence[float], readings: Sequence[Reading], mark: Mark) -> None:
    changes = [reading.change for reading in readings]
    for x, change in zip(xs, changes, strict=True):
        if change is not None:
            axes.plot([x, x], [change.low, change.high], color=mark.colour, linewidth=1.0)
    known = [(x, change.delta) for x, change in zip(xs, changes, strict=True) if change is not None]
    axes.plot(*zip(*known, strict=True), **{**_thin(mark), "linestyle": "none"})


def _draw_seeds(axes: Axes, x: float, values: Sequence[float], mark: Mark) -> None:
    """Small; the line is their mean."""
    if len(values) > 1:
        axes.plot([x] * len(values), values, color=mark.colour, marker="o", linestyle="none",
                  markersize=2.4, markeredgecolor=PAGE, markeredgewidth=0.35)  # fmt: skip


def _thin(mark: Mark) -> dict[str, Any]:
    return {**mark.settings, "linewidth": 1.1, "markersize": 3.8}


def _number_ends(axes: Axes, report: ComparisonReport) -> None:
    """Methods' numbers at the right end of their lines, where looks repeat."""
    numbers = [key.mark for key, _ in list_contenders(report) if key.mark.number is not None]
    lines = [line for line in axes.get_lines() if line.get_linestyle() not in ("None", "none")]
    if not numbers:
        return
    ends = [float(np.asarray(line.get_ydata())[-1]) for line in lines[-len(numbers) :]]
    low, high = axes.get_ylim()
    gap = (high - low) * min(NUMBER_SHARE, 1 / len(ends))
    places = spread(ends, gap)
    shift = min(0.0, high - max(places)) or max(0.0, low - min(places))  # into the plot
    for mark, y in zip(numbers, [place + shift for place in places], strict=True):
        axes.annotate(str(mark.number), (1, y), xycoords=axes.get_yaxis_transform(), fontsize=6.5,
                      color=mark.colour, va="center", annotation_clip=False)  # fmt: skip
    axes.set_ylim(low, high)


def spread(values: Sequence[float], gap: float) -> list[float]:
    """The values moved apart to at least that gap, in their order, their mean as it was."""
    order = np.argsort(values, kind="stable")
    moved = np.array(values, dtype=float)[order]
    steps = gap * np.arange(len(moved))
    # Least squares under "the next is at least a gap above": pools of what would overlap.
    pools: list[list[float]] = []
    for value in moved - steps:
        pools.append([float(value)])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    placed = np.concatenate([np.full(len(pool), np.mean(pool)) for pool in pools]) + steps
    found = np.empty_like(placed)
    found[order] = placed
    return [float(each) for each in found]


def _label_ious(axes: Axes, ious: Sequence[float]) -> None:
    axes.set_xlabel("IoU that counts as right")
    axes.set_xticks(ious)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))


def _label_n(axes: Axes, most: int) -> None:
    ticks = _list_ticks(most)
    axes.set_xscale("log")
    axes.set_xticks([GREEDY_N, *ticks], ["greedy", *map(str, ticks)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("n, of sampled answers the best is taken")
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))


def _list_ticks(most: int) -> list[int]:
    return [n for n in TICKS_N if n <= most]


def _find_ticks(most: int) -> list[int]:
    """Where lines have a marker: at the ticks."""
    return [n - 1 for n in _list_ticks(most)]
