"""Curves over runs: the main metric of each task with intervals, and what runs took."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from perpo_core.perception.tasks import TASKS
from perpo_core.report.formats import capitalise
from perpo_core.report.nights import Night
from perpo_core.report.plots import ROUND_STEPS, Key, Plot
from perpo_core.report.summary import PRIMARY_METRICS, TASK_LABELS, is_lower_better, label_metric
from perpo_core.report.svg import ACCENT, BASE, INK, MUTED, draw_svg
from schemas.artifact import Metric
from schemas.base import TaskName

NUM_DATES = 5  # labels that fit below a plot
KEYS = (
    Key("trained, with the interval of its change", "accent"),
    Key("base of that run", "warm", "dashed"),
)


def get_metric(night: Night, task: TaskName) -> Metric | None:
    """The main metric of a task on the test split; None where the run has not measured it."""
    return night.report.metrics.get(task, {}).get(PRIMARY_METRICS[task]) if night.report else None


def build_trend_plots(name: str, nights: Sequence[Night]) -> list[Plot]:
    """A plot for each task that was measured; none if nothing was."""
    plots = [
        plot_metric(name, task, nights)
        for task in TASKS
        if any(get_metric(night, task) for night in nights)
    ]
    return [*plots, plot_durations(name, nights)] if plots else []


def plot_metric(name: str, task: TaskName, nights: Sequence[Night]) -> Plot:
    """Base and trained policy of every run that measured the task, promotions ringed."""
    found = [(x, n, m) for x, n in enumerate(nights) if (m := get_metric(n, task)) is not None]
    metric = PRIMARY_METRICS[task]

    def draw(axes: Axes) -> None:
        xs = [x for x, _, _ in found]
        trained = [m.trained for _, _, m in found]
        below = [m.delta - m.delta_low for _, _, m in found]
        above = [m.delta_high - m.delta for _, _, m in found]
        axes.plot(xs, [m.base for _, _, m in found], color=BASE, linestyle="--", marker="o",
                  markersize=2.5, linewidth=1.2)  # fmt: skip
        axes.errorbar(xs, trained, yerr=[below, above], color=ACCENT, marker="o", markersize=3.5)
        for x, night, value in found:
            if night.outcome == "promoted":
                _ring(axes, x, value.trained)
        _label_runs(axes, nights)

    title = capitalise(TASK_LABELS[task])
    note = label_metric(metric) + (", lower is better" if is_lower_better(metric) else "")
    svg = draw_svg(f"trend-{name}-{task}", f"{title}, {note}, by run", draw)
    return Plot(title, note, svg, KEYS)


def _ring(axes: Axes, x: int, value: float) -> None:
    axes.plot([x], [value], "o", markersize=11, fillstyle="none", color=INK, clip_on=False)


def plot_durations(name: str, nights: Sequence[Night]) -> Plot:
    """How long each run took; failed runs are crossed."""
    seconds = [
        (night.record.ended_at - night.record.started_at).total_seconds()
        if night.record.ended_at
        else 0.0
        for night in nights
    ]
    unit, size = ("hours", 3600) if max(seconds) > 7200 else ("minutes", 60)

    def draw(axes: Axes) -> None:
        axes.bar(range(len(nights)), [each / size for each in seconds], color=ACCENT, width=0.7)
        ended = [x for x, n in enumerate(nights) if n.outcome in ("failed", "unfinished")]
        heights = [seconds[x] / size for x in ended]
        axes.bar(ended, heights, color=BASE, width=0.7)
        axes.plot(ended, heights, "x", color=INK, markersize=5, clip_on=False)
        axes.set_ylim(bottom=0)
        _label_runs(axes, nights)

    keys = (Key("completed", "accent"), Key("failed or unfinished", "warm"))
    svg = draw_svg(f"trend-{name}-time", f"Time of each run in {unit}", draw)
    return Plot("Time", f"of the whole run, {unit}", svg, keys)


def _label_runs(axes: Axes, nights: Sequence[Night]) -> None:
    """Runs in equal steps, labelled with their day; a night without a run leaves no gap."""

    def label(x: float, position: int | None) -> str:
        del position
        inside = x == round(x) and 0 <= x < len(nights)
        return f"{nights[round(x)].record.started_at:%m-%d}" if inside else ""

    axes.set_xlim(-0.6, len(nights) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(NUM_DATES, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(label))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axes.tick_params(axis="x", color=MUTED)
