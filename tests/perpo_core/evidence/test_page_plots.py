"""What the plots of a comparison draw: the report's numbers, and what is clear by shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from perpo_core.evidence.page.curves import (
    GREEDY_N,
    build_accuracy,
    build_accuracy_change,
    build_best_of_n,
    list_thresholds,
    spread,
)
from perpo_core.evidence.page.forest import build_forest, list_against_start, list_pairs
from perpo_core.evidence.page.marks import PAGE, list_marks
from schemas.comparison import ComparisonReport, MethodResult
from tests.perpo_core.evidence.comparisons import LABELS, build_report


@pytest.fixture(scope="module")
def report() -> ComparisonReport:
    return build_report(8)


def draw(plot: Callable[[Axes], None]) -> Axes:
    axes = Figure(figsize=(3.7, 3)).add_subplot()
    plot(axes)
    return axes


def list_points(axes: Axes) -> list[Line2D]:
    """Markers alone, one point each, as drawn."""
    return [line for line in axes.get_lines() if len(np.asarray(line.get_xdata())) == 1]


def read(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata())]


def read_change(method: MethodResult, metric: str) -> tuple[float, float, float]:
    found = method.tasks["grounding"].metrics[metric].change
    assert found is not None
    return found.delta, found.low, found.high


@pytest.mark.parametrize("list_rows", [list_against_start, list_pairs])
def test_a_forest_draws_intervals_and_shapes_say_what_is_clear(
    report: ComparisonReport, list_rows: Callable
) -> None:
    rows = list_rows(report)
    axes = draw(build_forest(rows))
    points = list_points(axes)
    assert {row.is_clear for row in rows} == {True, False} and len(points) == len(rows)
    for place, (row, point) in enumerate(zip(rows, points, strict=True)):
        assert point.get_xdata() == [row.difference.delta] and point.get_ydata() == [place]
        assert point.get_marker() == ("s" if row.is_clear else "o")
        assert (point.get_markerfacecolor() == PAGE) == (not row.is_clear)
    ends = [tuple(np.asarray(line.get_xdata())) for line in axes.get_lines()]
    assert all((row.difference.low, row.difference.high) in ends for row in rows)
    low, high = axes.get_ylim()
    assert low > high  # the first row is on top


def test_forests_are_sorted_and_pairs_leave_the_start_to_the_other(
    report: ComparisonReport,
) -> None:
    against, pairs = list_against_start(report), list_pairs(report)
    deltas = [row.difference.delta for row in against]
    assert deltas == sorted(deltas, reverse=True) and against[-1].names == (LABELS[7],)
    sizes = [abs(row.difference.delta) for row in pairs]
    assert sizes == sorted(sizes, reverse=True) and len(pairs) == 28
    assert all("start" not in row.names for row in pairs)
    of_errors = list_against_start(build_report(7, judge_by="ocr.edit_distance"))
    deltas = [row.difference.delta for row in of_errors]
    assert deltas == sorted(deltas)  # less is better


def test_curves_are_the_report_s(report: ComparisonReport) -> None:
    assert list_thresholds(report) == [30, 40, 50, 60, 70, 80, 90]
    drawn = [read(line) for line in draw(build_accuracy(report)).get_lines()]
    for method in (report.start, *report.methods):
        metrics = method.tasks["grounding"].metrics
        assert [metrics[f"acc_at_{each}"].value for each in range(30, 100, 10)] in drawn
        if len(metrics["acc_at_70"].per_seed) > 1:
            assert metrics["acc_at_70"].per_seed in drawn


def test_changes_have_their_intervals_and_seeds(report: ComparisonReport) -> None:
    drawn = [read(line) for line in draw(build_accuracy_change(report)).get_lines()]
    for method in report.methods:
        _, low, high = read_change(method, "acc_at_60")
        assert [low, high] in drawn
        deltas = [read_change(method, f"acc_at_{each}")[0] for each in range(30, 100, 10)]
        assert deltas in drawn
        before = report.start.tasks["grounding"].metrics["acc_at_60"].value
        seeds = method.tasks["grounding"].metrics["acc_at_60"].per_seed
        assert [seed - before for seed in seeds] in drawn


def test_best_of_n_stands_beside_the_greedy_answer(report: ComparisonReport) -> None:
    axes = draw(build_best_of_n(report, "ocr"))
    found = {tuple(read(line)) for line in axes.get_lines()}
    greedy = [p.get_ydata()[0] for p in list_points(axes) if p.get_xdata() == [GREEDY_N]]  # type: ignore[index]
    for method, value in zip((report.start, *report.methods), greedy, strict=True):
        assert tuple(method.tasks["ocr"].best_of_n) in found
        assert value == method.tasks["ocr"].metrics["greedy_reward"].value
    assert axes.get_xscale() == "log"


def test_numbers_stand_inside_the_plot_apart_from_each_other() -> None:
    for count in (10, 40):
        axes = draw(build_best_of_n(build_report(count), "grounding"))
        low, high = axes.get_ylim()
        places = sorted(text.xy[1] for text in axes.texts)  # type: ignore[attr-defined]
        assert len(places) == count and low <= places[0] and places[-1] <= high
        assert np.diff(places).min() >= 0.99 * (high - low) * min(0.05, 1 / count)


@pytest.mark.parametrize(
    ("values", "moved"),
    [
        ([3.0, 1.0], [3.0, 1.0]),
        ([1.0, 1.0], [0.5, 1.5]),
        ([2.0, 1.9, 5.0], [2.45, 1.45, 5.0]),
        ([0.0, 0.0, 0.9], [-0.7, 0.3, 1.3]),
    ],
)
def test_what_would_overlap_is_moved_apart(values: list[float], moved: list[float]) -> None:
    assert spread(values, 1.0) == pytest.approx(moved)


def test_looks_differ_without_colour_too_and_repeat_with_numbers() -> None:
    marks = list_marks(8)
    assert len({mark.colour for mark in marks}) == len({mark.marker for mark in marks}) == 8
    assert len({(mark.dashes, mark.marker) for mark in marks}) == 8
    assert all(mark.number is None for mark in marks)
    assert [mark.number for mark in list_marks(10)] == list(range(1, 11))
