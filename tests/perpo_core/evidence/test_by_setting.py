"""Methods along one setting: when there is such a figure, and what it draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from perpo_core.evidence.choosing import get_chosen
from perpo_core.evidence.page.by_setting import BEST, build_by_setting
from perpo_core.evidence.page.figures import list_curves
from perpo_core.evidence.page.setting_axis import find_axis
from schemas.comparison import ComparisonReport
from tests.perpo_core.evidence.comparisons import build_report

SIZES = (2, 20, 8)


def build_sized(
    settings: Sequence[dict[str, Any]], judge_by: str = "greedy_reward"
) -> ComparisonReport:
    """A comparison whose methods have these settings of their own; the sweep's stay."""
    report = build_report(len(settings), judge_by=f"grounding.{judge_by}")
    methods = [
        method.model_copy(update={"settings": own | get_chosen(method.sweep)})
        for method, own in zip(report.methods, settings, strict=True)
    ]
    return report.model_copy(update={"methods": methods})


def name_sizes(sizes: Sequence[Any] = SIZES, **others: Sequence[Any]) -> list[dict[str, Any]]:
    columns = {"lists.list_size": sizes} | {f"train.{k}": v for k, v in others.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (name_sizes(), "lists.list_size"),
        (name_sizes(objective=["perpo"] * 3), "lists.list_size"),
        (name_sizes(SIZES * 2, objective=["dpo"] * 3 + ["perpo"] * 3), "lists.list_size"),
        (name_sizes((*SIZES, 2, 2, 8), objective=["dpo"] * 3 + ["perpo"] * 3), None),
        (name_sizes((*SIZES, 2, 4, 8), objective=["dpo"] * 3 + ["perpo"] * 3), None),
        (name_sizes((*SIZES, 2), objective=["dpo"] * 3 + ["perpo"]), None),
        (name_sizes(epochs=[4, 1, 2]), "lists.list_size"),
        (name_sizes([8, 8, 8], gamma=[0.1, 1, 0.5]), "train.gamma"),
        (name_sizes([2, 4, 4], gamma=[0.1, 1, 1]), None),
        (name_sizes(objective=["perpo", "dpo", "perpo"]), None),
        (name_sizes([True, False, None]), None),
        (name_sizes()[:2], None),
        ([{}, {"lists.list_size": 2}, {"lists.list_size": 4}], None),
        ([{}, {}, {}], None),
    ],
)
def test_the_setting_is_the_one_number_that_differs_for_each(
    settings: list[dict[str, Any]], found: str | None
) -> None:
    report = build_sized(settings)
    axis = find_axis(report)
    assert (axis and axis.setting) == found
    assert [figure.name for figure in list_curves(report)].count("by-setting") == (
        found is not None
    )


def test_what_the_sweep_chose_is_no_axis() -> None:
    report = build_sized([{"train.objective": "perpo"}] * 3)
    assert len({str(get_chosen(method.sweep)) for method in report.methods}) > 1
    assert find_axis(report) is None


def draw(report: ComparisonReport) -> list[Line2D]:
    axes = Figure(figsize=(3.7, 3)).add_subplot()
    axis = find_axis(report)
    assert axis is not None
    build_by_setting(report, axis)(axes)
    return list(axes.get_lines())


def find(lines: Sequence[Line2D], xs: Sequence[float]) -> list[list[float]]:
    """Heights of the lines over just these places."""
    return [list(map(float, np.asarray(line.get_ydata()))) for line in lines
            if list(np.asarray(line.get_xdata())) == list(xs)]  # fmt: skip


def test_points_are_in_order_of_the_setting_with_the_best_of_as_many_beside_them() -> None:
    report = build_sized(name_sizes())
    by_size = dict(zip(SIZES, report.methods, strict=True))
    start = report.start.tasks["grounding"]
    means, lines = [], draw(report)
    for size in sorted(SIZES):
        reading = by_size[size].tasks["grounding"].metrics["greedy_reward"]
        assert reading.change is not None
        means.append(reading.value)
        ends = [start.metrics["greedy_reward"].value + end
                for end in (reading.change.low, reading.change.high)]  # fmt: skip
        assert ends in find(lines, [size, size])
        assert reading.per_seed in find(lines, [size] * len(reading.per_seed))
    level = [start.metrics["greedy_reward"].value] * 3
    best = [start.best_of_n[size - 1] for size in sorted(SIZES)]
    assert find(lines, sorted(SIZES)) == [level, means, best]


def test_methods_that_differ_in_more_than_numbers_are_lines_of_their_own() -> None:
    words = {"objective": ["dpo"] * 3 + ["perpo"] * 3, "pairs": ["all"] * 6}
    report = build_sized(name_sizes(SIZES * 2, **words))
    axis = find_axis(report)
    assert axis is not None and [line.label for line in axis.lines] == ["dpo", "perpo"]
    [figure] = [figure for figure in list_curves(report) if figure.name == "by-setting"]
    assert [key.label for key in figure.keys[1:]] == ["dpo", "perpo", BEST.label]
    heights = [
        [method.tasks["grounding"].metrics["greedy_reward"].value for _, method in line.points]
        for line in axis.lines
    ]
    assert find(draw(report), sorted(SIZES))[1:3] == heights
    assert axis.places == sorted(SIZES)


def test_lines_of_one_word_in_different_settings_are_not_taken_for_each_other() -> None:
    settings = [
        {"lists.list_size": size, name: value}
        for name, value in (("train.pairs", "all"), ("train.image", "all"), ("train.save", True))
        for size in SIZES
    ]
    axis = find_axis(build_sized(settings))
    assert axis is not None
    assert [(line.label, len(line.points)) for line in axis.lines] == [
        ("all", 3), ("all", 3), ("save true", 3),
    ]  # fmt: skip


def test_best_of_n_is_left_out_where_it_is_another_measure_or_another_setting() -> None:
    for report, setting in (
        (build_sized(name_sizes(), "acc_at_50"), "lists.list_size"),
        (build_sized(name_sizes([8] * 3, gamma=[0.1, 1, 0.5])), "train.gamma"),
    ):
        [figure] = [figure for figure in list_curves(report) if figure.name == "by-setting"]
        assert figure.title == f"By {setting}" and BEST not in figure.keys
