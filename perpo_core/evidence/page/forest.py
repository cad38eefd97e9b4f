"""Forest plot: differences with their intervals, one below the other, against a line at zero.

What is clear is a filled square, what is not a hollow circle: shape and filling say it without
colour. Names stand above their interval, so that the plot is readable on a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from perpo_core.evidence.page.marks import CLEAR_MARK, PAGE, UNCLEAR_MARK, Key, Mark
from perpo_core.evidence.page.pairs import sort_pairs
from perpo_core.evidence.page.tables import find_pair, get_metric, list_contenders
from perpo_core.evidence.page.words import format_interval, shorten, shorten_pair
from perpo_core.perception.tasks import LOWER_IS_BETTER
from perpo_core.report.formats import format_signed
from perpo_core.report.plots import ROUND_STEPS
from perpo_core.report.svg import MUTED
from schemas.compare_config import START
from schemas.comparison import ComparisonReport
from schemas.evidence_statistics import Difference

ROW_INCHES = 0.31
FOOT_INCHES = 0.42
CHARACTERS_PER_INCH = 15.5
MAX_ROWS = 60
"""A figure of more is read by nobody; the table has the rest."""
KEYS = (Key("clear: Holm's p below 0.05", CLEAR_MARK), Key("not told apart", UNCLEAR_MARK))


@dataclass(frozen=True)
class ForestRow:
    """One difference."""

    names: tuple[str, ...]
    """A method, or the better and the worse one."""
    difference: Difference
    is_clear: bool


def list_against_start(report: ComparisonReport) -> list[ForestRow]:
    """Every method minus the start, the best one first."""
    metric = get_metric(report)
    rows = []
    for key, method in list_contenders(report)[1:]:
        change = method.tasks[report.task].metrics[metric].change
        pair = find_pair(report, method.name)
        if change is not None and pair is not None:
            rows.append(ForestRow((key.label,), change, pair.is_clear))
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return sorted(rows, key=lambda row: sign * row.difference.delta)


def list_pairs(report: ComparisonReport) -> list[ForestRow]:
    """Every better method minus the worse one, the largest difference first."""
    labels = {method.name: key.label for key, method in list_contenders(report)}
    return [
        ForestRow((labels[pair.better], labels[pair.worse]), pair.difference, pair.is_clear)
        for pair in sort_pairs(report)
        if START not in (pair.better, pair.worse)
    ]


def measure_forest(rows: Sequence[ForestRow]) -> float:
    """Height of the plot, inches."""
    return FOOT_INCHES + ROW_INCHES * len(rows)


def build_forest(rows: Sequence[ForestRow]) -> Callable[[Axes], None]:
    """What draws them."""

    def draw(axes: Axes) -> None:
        axes.axvline(0, color=MUTED, linewidth=0.9)
        for place, row in enumerate(rows):
            _draw_row(axes, place, row)
        axes.set_ylim(len(rows) - 0.25, -0.75)
        axes.set_yticks([])
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: format_tick(x)))
        axes.margins(x=0.04)

    return draw


def format_tick(value: float) -> str:
    """Signed, as short as it is exact."""
    return "0" if abs(value) < 1e-12 else f"{value:+g}".replace("-", "\u2212")


def _draw_row(axes: Axes, place: int, row: ForestRow) -> None:
    mark = CLEAR_MARK if row.is_clear else UNCLEAR_MARK
    found = row.difference
    axes.plot([found.low, found.high], [place, place], color=mark.colour,
              linewidth=2.0 if row.is_clear else 1.1)  # fmt: skip
    axes.plot([found.delta], [place], **_enlarge(mark))
    numbers = format_signed(found.delta)
    if len(row.names) == 1:
        numbers = f"{numbers}  ({format_interval(found)})"
    _write(axes, 0.0, place, _name(axes, row, len(numbers)), "left", mark.colour)
    _write(axes, 1.0, place, numbers, "right", mark.colour)


def _enlarge(mark: Mark) -> dict[str, Any]:
    return {**mark.settings, "markersize": 5.4, "markeredgewidth": 1.2}


def _name(axes: Axes, row: ForestRow, taken: int) -> str:
    """As much of the names as the width has beside the numbers."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    most = int(figure.get_figwidth() * CHARACTERS_PER_INCH) - taken - 2
    first, *second = row.names
    if not second:
        return shorten(first, most)
    return " \u2212 ".join(shorten_pair(first, second[0], most - 3))


def _write(axes: Axes, x: float, place: int, text: str, side: str, colour: str) -> None:
    """Above the interval; foreign text is no formula, and does not move the plot."""
    found = axes.text(x, place - 0.3, text, ha=side, va="bottom", color=colour, fontsize=7.8,
                      transform=axes.get_yaxis_transform(), parse_math=False,
                      bbox={"facecolor": PAGE, "edgecolor": "none", "pad": 0.5})  # fmt: skip
    found.set_in_layout(False)
