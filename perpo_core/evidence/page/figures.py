"""Which figures a comparison has: in the page in its colours, for docs/ as files on white."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes

from perpo_core.evidence.page import by_setting, curves, forest
from perpo_core.evidence.page.marks import METHOD_PRINTED, METHOD_VARIABLES, Key
from perpo_core.evidence.page.setting_axis import find_axis
from perpo_core.evidence.page.tables import list_keys
from perpo_core.evidence.values import name_criterion, name_metric
from perpo_core.perception.tasks import LOWER_IS_BETTER, TASKS
from perpo_core.report.formats import capitalise
from perpo_core.report.svg import MUTED, draw_svg, draw_svg_file
from schemas.comparison import ComparisonReport

PAGE_WIDTH_INCHES, FILE_WIDTH_INCHES = 3.7, 7.0
CURVE_INCHES = 2.5
FILE_CURVE_INCHES = 3.2
LEGEND_COLUMNS = 3
LEGEND_CHARACTERS = 105
"""Of a line; every entry has KEY_CHARACTERS beside its label."""
KEY_CHARACTERS = 9
LEGEND_ROW_INCHES = 0.19
FILE_HEAD_INCHES = 0.6


@dataclass(frozen=True)
class Figure:
    """One plot with its words."""

    name: str
    """Of the file, without its ending."""
    title: str
    note: str
    keys: tuple[Key, ...]
    draw: Callable[[Axes], None]
    height_inches: float
    least_inches: float = 0.0
    """Of the file, which is wider."""

    @property
    def svg(self) -> Markup:
        """For the page, which writes title and legend itself."""
        size = (PAGE_WIDTH_INCHES, self.height_inches)
        return draw_svg(self.name, self.label, self.draw, size, METHOD_VARIABLES)

    @property
    def label(self) -> str:
        return f"{self.title}: {self.note}"

    def write_file(self) -> str:
        """An SVG file of its own, title and legend included."""
        rows = -(-len(self.keys) // self._num_columns)
        height = max(self.height_inches, self.least_inches) + LEGEND_ROW_INCHES * rows
        return draw_svg_file(
            self.label,
            self._draw_whole,
            (FILE_WIDTH_INCHES, height + FILE_HEAD_INCHES),
            METHOD_PRINTED,
        )

    @property
    def _num_columns(self) -> int:
        """Of the legend: no entry may be cut off."""
        longest = max(len(key.label) for key in self.keys) + KEY_CHARACTERS
        return max(1, min(LEGEND_COLUMNS, LEGEND_CHARACTERS // longest))

    def _draw_whole(self, axes: Axes) -> None:
        self.draw(axes)
        axes.set_title(f"{self.title}\n", loc="left", fontsize=10, parse_math=False)
        axes.text(0, 1, f"{self.note}\n", transform=axes.transAxes, fontsize=8, color=MUTED,
                  va="baseline", parse_math=False)  # fmt: skip
        figure = axes.get_figure(root=True)
        assert figure is not None
        legend = figure.legend(
            [key.handle for key in self.keys], [key.label for key in self.keys], frameon=False,
            loc="outside lower left", ncols=self._num_columns, fontsize=8, handlelength=3,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_parse_math(False)


def build_figures(report: ComparisonReport) -> dict[str, str]:
    """File name -> content: the page's figures of the task that ranks, for docs/."""
    return {
        f"{report.name}-{figure.name}.svg": figure.write_file()
        for figure in (*list_forests(report), *list_curves(report))
    }


def list_forests(report: ComparisonReport) -> list[Figure]:
    """Every method against the start, and every two of them against each other."""
    by = name_criterion(report.judge_by)
    way = "less is better" if report.judge_by.partition(".")[2] in LOWER_IS_BETTER else ""
    against, pairs = forest.list_against_start(report), forest.list_pairs(report)
    figures = [
        _build_forest("against-start", "Against the start", _join(f"change of {by}", way), against)
    ]
    if pairs:
        shown = pairs[: forest.MAX_ROWS]
        of = f"; the {len(shown)} largest of {len(pairs):,}" if len(shown) < len(pairs) else ""
        note = _join(f"better minus worse in {by}{of}", way)
        figures.append(_build_forest("pairs", "Method against method", note, shown))
    return figures


def _build_forest(name: str, title: str, note: str, rows: list[forest.ForestRow]) -> Figure:
    return Figure(
        name, title, f"{note}, 95% intervals", forest.KEYS, forest.build_forest(rows),
        forest.measure_forest(rows),
    )  # fmt: skip


def list_curves(report: ComparisonReport) -> list[Figure]:
    """Of the task that ranks; over a setting or over IoU where there is one."""
    best_of_n = build_best_of_n(report, report.task)
    return [*_list_by_setting(report), *_list_accuracies(report), best_of_n]


def _list_by_setting(report: ComparisonReport) -> Iterator[Figure]:
    axis = find_axis(report)
    if axis is not None:
        note = (
            f"{name_criterion(report.judge_by)}; 95% intervals of the change, small dots are seeds"
        )
        yield Figure(
            "by-setting", f"By {axis.setting}", note, by_setting.list_setting_keys(report, axis),
            by_setting.build_by_setting(report, axis), CURVE_INCHES, FILE_CURVE_INCHES,
        )  # fmt: skip


def _list_accuracies(report: ComparisonReport) -> Iterator[Figure]:
    if len(curves.list_thresholds(report)) < 2:
        return
    keys = tuple(list_keys(report))
    task = capitalise(TASKS[report.task].label)
    yield Figure(
        "accuracy-by-iou", f"{task} accuracy by IoU",
        "share of greedy answers of at least that IoU; small dots are seeds",
        keys, curves.build_accuracy(report), CURVE_INCHES, FILE_CURVE_INCHES,
    )  # fmt: skip
    yield Figure(
        "accuracy-change-by-iou", f"{task} accuracy by IoU, change",
        "against the start, 95% intervals; small dots are seeds, methods in the legend's order",
        keys[1:], curves.build_accuracy_change(report), CURVE_INCHES, FILE_CURVE_INCHES,
    )  # fmt: skip


def build_best_of_n(report: ComparisonReport, task: str) -> Figure:
    """Of any task."""
    label = capitalise(TASKS[task].label)
    name = "best-of-n" if task == report.task else f"best-of-n-{task}"
    note = f"expected reward of the best of n samples; {name_metric(task, 'greedy_reward')} left"
    return Figure(
        name, f"{label}, best of n", note, tuple(list_keys(report)),
        curves.build_best_of_n(report, task), CURVE_INCHES, FILE_CURVE_INCHES,
    )  # fmt: skip


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
