"""The report's plots: training curves, reward by checkpoint, reward histograms."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from perpo_core.perception.tasks import TASKS
from perpo_core.report.histograms import NUM_BINS, Histogram
from perpo_core.report.svg import ACCENT, BASE, INK, MUTED, TASK_COLOURS, draw_svg
from schemas.artifact import Checkpoint, TrainPoint
from schemas.base import TaskName

SMOOTHED_SHARE = 0.08  # of the steps: window of the running mean
MIN_STEPS_SMOOTHED = 20  # shorter runs are drawn as they are
ROUND_STEPS = [1, 2, 2.5, 5, 10]  # of ticks
LINE_STYLES = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dashed"}  # of CSS


@dataclass(frozen=True)
class Key:
    """An entry of a legend: the CSS variable of its colour, the style of its line."""

    label: str
    colour: str
    line: str = "solid"


@dataclass(frozen=True)
class Plot:
    """One figure of the page."""

    title: str
    note: str
    svg: Markup
    keys: tuple[Key, ...] = ()


@dataclass(frozen=True)
class Curve:
    """One or two metrics of the training steps that share a plot."""

    title: str
    note: str
    names: tuple[str, ...]
    keys: tuple[Key, ...] = ()


BEST_AND_WORST = (Key("best answer", "accent"), Key("worst answer", "warm", "dashed"))
CURVES = (
    Curve("Loss", "mean of the step", ("loss",)),
    Curve("Order", "of the answers by log-ratio, against their rewards",
          ("rewards/accuracies", "list/kendall_tau"),
          (Key("pairs in order", "accent"), Key("Kendall's tau", "warm", "dashed"))),
    Curve("NDCG", "of the lists in the order of log-ratios", ("list/ndcg",)),
    Curve("Margin", "beta times log-ratio, best over worst answer", ("rewards/margins",)),
    Curve("Log-probability change", "against the reference, nats",
          ("logps/chosen_change", "logps/rejected_change"), BEST_AND_WORST),
    Curve("KL", "reference to policy, estimated on the lists, nats", ("kl",)),
    Curve("Gradient norm", "before clipping", ("grad_norm",)),
)  # fmt: skip


def build_training_plots(checkpoint: Checkpoint) -> list[Plot]:
    """Reward by checkpoint and the curves of the training steps, as far as there are any."""
    plots = []
    if checkpoint.readings:
        plots.append(plot_readings(checkpoint))
    if checkpoint.history:
        plots += _plot_history(checkpoint.history)
    return plots


def _plot_history(history: Sequence[TrainPoint]) -> list[Plot]:
    numbers = [{"loss": p.loss, "grad_norm": p.grad_norm, **p.metrics} for p in history]
    steps = np.array([point.step for point in history])
    return [
        _plot_curve(curve, steps, {name: [row[name] for row in numbers] for name in curve.names})
        for curve in CURVES
        if all(name in row for name in curve.names for row in numbers)
    ]


def _plot_curve(curve: Curve, steps: np.ndarray, values: dict[str, list[float]]) -> Plot:
    styles = ((ACCENT, "-"), (BASE, "--"))

    def draw(axes: Axes) -> None:
        for name, (colour, line) in zip(curve.names, styles, strict=False):
            _draw_smoothed(axes, steps, np.array(values[name]), colour, line)
        _label_steps(axes)
        if len(curve.names) > 1:
            axes.axhline(0, color=MUTED, linewidth=0.8)

    name = re.sub("[^a-z]", "-", curve.names[0])
    svg = draw_svg(f"train-{name}", f"{curve.title}, {curve.note}, by step", draw)
    return Plot(curve.title, curve.note, svg, curve.keys)


def _draw_smoothed(
    axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, line: str
) -> None:
    """The values, and their running mean on top where there are enough of them."""
    if len(values) < MIN_STEPS_SMOOTHED:
        marker = "o" if len(values) == 1 else None
        axes.plot(steps, values, color=colour, linestyle=line, marker=marker, markersize=4)
        return
    axes.plot(steps, values, color=colour, linewidth=0.8, alpha=0.3)
    window = max(3, round(SMOOTHED_SHARE * len(values)))
    axes.plot(steps, compute_running_mean(values, window), color=colour, linestyle=line)


def compute_running_mean(values_N: np.ndarray, window: int) -> np.ndarray:
    """Mean over a centred window that shrinks at the ends; shape [N]."""
    ones = np.ones(window)
    return np.convolve(values_N, ones, "same") / np.convolve(np.ones(len(values_N)), ones, "same")


def _label_steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND_STEPS))


def plot_readings(checkpoint: Checkpoint) -> Plot:
    """Greedy reward on the split that chose, since the first reading; the chosen one ringed."""
    points, chosen_step = checkpoint.readings, checkpoint.chosen_step
    first, steps = points[0], [point.step for point in points]
    means = [point.mean_reward - first.mean_reward for point in points]
    tasks = [task for task in TASKS if all(task in point.per_task for point in points)]

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=MUTED, linewidth=0.8)
        for task in tasks:
            values = [point.per_task[task] - first.per_task[task] for point in points]
            axes.plot(steps, values, TASKS[task].look.line, color=TASK_COLOURS[task], linewidth=1.2)
        axes.plot(steps, means, color=INK, marker="o", markersize=3.5, linewidth=2)
        if chosen_step in steps:
            _ring(axes, chosen_step, means[steps.index(chosen_step)])
        _label_steps(axes)

    title = f"{checkpoint.chosen_on.capitalize()} reward"
    label = f"{title} by checkpoint; step {chosen_step} was chosen"
    keys = (Key("mean", "ink"), *(_task_key(task) for task in tasks))
    note = f"change since step {first.step}; chosen: step {chosen_step}"
    return Plot(title, note, draw_svg("readings", label, draw), keys)


def _ring(axes: Axes, step: int, value: float) -> None:
    axes.axvline(step, color=ACCENT, linewidth=1, linestyle=(0, (2, 3)))
    axes.plot([step], [value], "o", markersize=11, fillstyle="none", color=ACCENT, clip_on=False)


def _task_key(task: TaskName) -> Key:
    return Key(TASKS[task].label, task, LINE_STYLES[TASKS[task].look.line])


def plot_histogram(
    name: str,
    title: str,
    note: str,
    histogram: Histogram,
    task: str,
    threshold: float | None = None,
) -> Plot:
    """Share of the values by bin of the histogram's scale; a dashed line at `threshold`."""
    low, high = histogram.scale
    edges, width = np.linspace(low, high, NUM_BINS + 1), high - low
    bar_width = 0.9 * width / NUM_BINS
    shares = histogram.counts / max(histogram.num, 1)

    def draw(axes: Axes) -> None:
        axes.bar(edges[:-1], shares, width=bar_width, align="edge", color=TASK_COLOURS[task])
        axes.set_xlim(low - 0.02 * width, high + 0.02 * width)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=1, linestyle=(0, (3, 2)))

    svg = draw_svg(f"{name}-{task}", f"{title}: {note}", draw)
    return Plot(title, note, svg)
