"""Curves by round, a task at a time; lines differ in style and mark, so that grey is enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from perpo_core.report.formats import capitalise
from perpo_core.report.plots import ROUND_STEPS, Key, Plot
from perpo_core.report.summary import TASK_LABELS, is_lower_better, label_metric
from perpo_core.report.svg import ACCENT, BASE, INK, MUTED, draw_svg
from schemas.artifact import Metric
from schemas.base import TaskName
from schemas.rounds import Diversity, Round, TaskOfRound

Points = list[tuple[int, float]]
"""(round, value); round 0 is the start."""
PointWithInterval = tuple[int, float, float, float]
"""(round, value, how far its interval reaches below it, above it)."""
AGAINST_START = Key("with the interval of its change from the start", "accent")
REWARDS = (
    ("best_of_n", BASE, "--", "^", Key("best of n samples", "warm", "dashed")),
    ("greedy_reward", ACCENT, "-", "o", Key("greedy", "accent")),
    ("sampled_reward", INK, ":", "s", Key("expected of samples", "ink", "dotted")),
)


def build_plots(name: str, task: TaskName, rounds: Sequence[Round]) -> list[Plot]:
    """All of one task; those of its training answers only where there are any."""
    measured = [(each, each.tasks[task]) for each in rounds if task in each.tasks]
    found = [(each.number, of) for each, of in measured]
    ids = f"rounds-{name}-{task}"
    plots = [
        plot_headline(ids, task, found),
        plot_steps(ids, task, found),
        plot_rewards(ids, task, found, measured[-1][0].num_samples),
        plot_headroom(ids, task, found),
    ]
    diverse = [(number, of.diversity) for number, of in found if of.diversity is not None]
    return plots + ([plot_shares(ids, task, diverse), plot_spread(ids, task, diverse)]
                    if diverse else [])  # fmt: skip


def plot_headline(ids: str, task: TaskName, found: Sequence[tuple[int, TaskOfRound]]) -> Plot:
    """The start, and every round with the interval of its change from the start."""
    name = found[0][1].headline
    values = [(number, of.against_start[name]) for number, of in found]
    start = values[0][1].base

    def draw(axes: Axes) -> None:
        axes.plot([0, values[0][0]], [start, values[0][1].trained], color=ACCENT)
        axes.plot([0], [start], "o", color=BASE, markersize=4.5)
        axes.axhline(start, color=BASE, linestyle="--", linewidth=1)
        _draw_intervals(axes, [(n, value.trained, *_compute_reach(value)) for n, value in values])
        _label_rounds(axes, found[-1][0])

    note = "test split" + (", lower is better" if is_lower_better(name) else "")
    keys = (AGAINST_START, Key("start", "warm", "dashed"))
    return _build(ids, task, "accuracy", capitalise(label_metric(name)), note, draw, keys)


def plot_steps(ids: str, task: TaskName, found: Sequence[tuple[int, TaskOfRound]]) -> Plot:
    """Every round's change against the round before."""
    name = found[0][1].headline
    values = [(number, of.against_before[name]) for number, of in found]

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=MUTED, linewidth=1)
        _draw_intervals(
            axes, [(n, value.delta, *_compute_reach(value)) for n, value in values], "none"
        )
        _label_rounds(axes, found[-1][0], first=1)

    note = f"change of {label_metric(name)}, with its interval"
    return _build(ids, task, "steps", "Against the round before", note, draw)


def plot_rewards(
    ids: str, task: TaskName, found: Sequence[tuple[int, TaskOfRound]], num_samples: int
) -> Plot:
    """Greedy, expected and best-of-n reward, and the start's best of n."""
    start = found[0][1].against_start["best_of_n"].base

    def draw(axes: Axes) -> None:
        axes.axhline(start, color=MUTED, linestyle="-.", linewidth=1)
        for name, colour, line, mark, _ in REWARDS:
            points = [(0, found[0][1].against_start[name].base)]
            points += [(number, of.against_start[name].trained) for number, of in found]
            _draw_line(axes, points, colour, line, mark)
        _label_rounds(axes, found[-1][0])

    keys = (
        *(key for *_, key in REWARDS),
        Key("start's best of n, without marks", "muted", "dashed"),
    )
    note = f"mean on the test split, n = {num_samples}"
    return _build(ids, task, "rewards", "Reward", note, draw, keys)


def plot_headroom(ids: str, task: TaskName, found: Sequence[tuple[int, TaskOfRound]]) -> Plot:
    """What of the headroom is closed: of the start's by all rounds, of its own by each."""
    of_start = [(n, each.closed, each.closed - each.low, each.high - each.closed)
                for n, of in found if (each := of.start_headroom)]  # fmt: skip
    of_own = [(n, of.headroom_closed) for n, of in found]

    def draw(axes: Axes) -> None:
        axes.axhline(0, color=MUTED, linewidth=1)
        _draw_intervals(axes, [(0, 0.0, 0.0, 0.0), *of_start])
        _draw_line(axes, _known(of_own), BASE, "--", "^")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        _label_rounds(axes, found[-1][0])

    keys = (Key("the start's, by all rounds so far, with its interval", "accent"),
            Key("its own, by the round alone", "warm", "dashed"))  # fmt: skip
    note = "of greedy reward to best of n"
    return _build(ids, task, "headroom", "Headroom closed", note, draw, keys)


def plot_shares(ids: str, task: TaskName, diverse: Sequence[tuple[int, Diversity]]) -> Plot:
    """How many training answers are different, and how many prompts have nothing to learn from."""
    different = [(n, of.num_different / max(of.num_answers, 1)) for n, of in diverse]
    equal = _known([(n, of.equal_share) for n, of in diverse])

    def draw(axes: Axes) -> None:
        _draw_line(axes, different, ACCENT, "-", "o")
        _draw_line(axes, equal, BASE, "--", "^")
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        _label_rounds(axes, diverse[-1][0], first=1)

    keys = (Key("different answers, of those of a prompt", "accent"),
            Key("prompts whose answers are all worth the same", "warm", "dashed"))  # fmt: skip
    return _build(ids, task, "shares", "Diversity", "of training answers", draw, keys)


def plot_spread(ids: str, task: TaskName, diverse: Sequence[tuple[int, Diversity]]) -> Plot:
    """How far apart the rewards of a prompt's training answers are."""
    gaps = _known([(n, of.reward_gap) for n, of in diverse])
    differences = _known([(n, of.reward_difference) for n, of in diverse])

    def draw(axes: Axes) -> None:
        _draw_line(axes, gaps, ACCENT, "-", "o")
        _draw_line(axes, differences, BASE, "--", "^")
        axes.set_ylim(bottom=0)
        _label_rounds(axes, diverse[-1][0], first=1)

    keys = (Key("best minus worst", "accent"), Key("mean of all pairs", "warm", "dashed"))
    note = "between training answers of a prompt, mean"
    return _build(ids, task, "spread", "Differences of reward", note, draw, keys)


def _build(
    ids: str, task: TaskName, what: str, title: str, note: str, draw: Callable[[Axes], None],
    keys: tuple[Key, ...] = (),
) -> Plot:  # fmt: skip
    label = f"{TASK_LABELS[task]}: {title}, {note}, by round"
    return Plot(title, note, draw_svg(f"{ids}-{what}", label, draw), keys)


def _known(points: Sequence[tuple[int, float | None]]) -> Points:
    return [(number, value) for number, value in points if value is not None]


def _draw_line(axes: Axes, points: Points, colour: str, line: str, mark: str) -> None:
    axes.plot([x for x, _ in points], [y for _, y in points], color=colour, linestyle=line,
              marker=mark, markersize=4)  # fmt: skip


def _compute_reach(value: Metric) -> tuple[float, float]:
    """How far the interval of a change reaches below and above it."""
    return value.delta - value.delta_low, value.delta_high - value.delta


def _draw_intervals(axes: Axes, points: Sequence[PointWithInterval], line: str = "-") -> None:
    numbers, values, below, above = zip(*points, strict=True)
    axes.errorbar(numbers, values, yerr=[below, above], color=ACCENT, linestyle=line,
                  marker="o", markersize=4, capsize=3)  # fmt: skip


def _label_rounds(axes: Axes, last: int, first: int = 0) -> None:
    axes.set_xlim(first - 0.4, last + 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=ROUND_STEPS))
    axes.tick_params(axis="x", color=MUTED)
