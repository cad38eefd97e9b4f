"""A closer look: does a method need the image, how does it rank answers, how far did it go.

One table a task, a column a method, of what its first seed trained. A row that nothing has is left
out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perpo_core.evidence.page.marks import Key
from perpo_core.evidence.page.runs import link_list
from perpo_core.evidence.page.tables import list_contenders
from perpo_core.evidence.page.words import NONE, format_percent
from perpo_core.perception.tasks import TASKS
from perpo_core.report.formats import capitalise, format_number, format_signed
from schemas.comparison import ComparisonReport, TaskLook
from schemas.probing import ProbeWay
from schemas.ranking import MeanOfLists


@dataclass(frozen=True)
class Shown:
    """A number and its 95% interval, as text."""

    text: str = NONE
    interval: str = ""


@dataclass(frozen=True)
class LookRow:
    label: str
    note: str
    cells: list[Shown]
    """By column."""


@dataclass(frozen=True)
class LookTable:
    """One task."""

    label: str
    columns: list[tuple[Key, str]]
    rows: list[LookRow]


Read = Callable[[TaskLook], Shown]
MISSING = Shown()
MARGIN = "implicit_margin_nats"


def build_look_tables(report: ComparisonReport) -> list[LookTable]:
    """Of every task that was looked at, in the order of TASKS."""
    contenders = [(key, method) for key, method in list_contenders(report) if method.looks]
    tables = []
    for task in TASKS:
        looks = [method.looks.get(task) for _, method in contenders]
        if any(looks):
            columns = [(key, link_list(method)) for key, method in contenders]
            rows = [
                LookRow(label, note, [read(look) if look else MISSING for look in looks])
                for label, note, read in ROWS
            ]
            kept = [row for row in rows if any(cell != MISSING for cell in row.cells)]
            tables.append(LookTable(capitalise(TASKS[task].label), columns, kept))
    return tables


def _show_gain(look: TaskLook) -> Shown:
    probe = next(iter(look.image.values()), None)
    if probe is None or probe.gain_right is None:
        return MISSING
    return _show(probe.gain_right, probe.gain_right_low, probe.gain_right_high)


def _show_share(way: ProbeWay) -> Read:
    def read(look: TaskLook) -> Shown:
        probe = look.image.get(way)
        if probe is None or probe.needs_image is None:
            return MISSING
        low, high = probe.needs_image_low, probe.needs_image_high
        assert low is not None and high is not None, "a share comes with its interval"
        interval = f"{format_percent(low)} to {format_percent(high)}"
        return Shown(format_percent(probe.needs_image), interval)

    return read


def _show_mean(name: str, image: str = "right") -> Read:
    def read(look: TaskLook) -> Shown:
        scores = getattr(look.ranking, image) if look.ranking else None
        mean: MeanOfLists | None = getattr(scores, name) if scores else None
        if mean is None:
            return MISSING
        interval = f"{format_number(mean.low)} to {format_number(mean.high)}"
        return Shown(format_number(mean.mean), interval)

    return read


def _show_number(name: str) -> Read:
    def read(look: TaskLook) -> Shown:
        value = getattr(look.ranking.right, name) if look.ranking else None
        return MISSING if value is None else Shown(format_number(value))

    return read


def _show_margin_of_image(look: TaskLook) -> Shown:
    margin = look.ranking.margin_of_image_nats if look.ranking else None
    return _show(margin.mean, margin.low, margin.high) if margin else MISSING


def _show_drift(name: str) -> Read:
    def read(look: TaskLook) -> Shown:
        if look.drift is None:
            return MISSING
        found = getattr(look.drift, name)
        return _show(found.value, found.low, found.high)

    return read


def _show_truth(look: TaskLook) -> Shown:
    truth = look.drift.truth_logp if look.drift else None
    return _show(truth.delta, truth.delta_low, truth.delta_high) if truth else MISSING


def _show(value: float, low: float | None, high: float | None) -> Shown:
    if low is None or high is None:
        return Shown(format_signed(value))
    return Shown(format_signed(value), f"{format_signed(low)} to {format_signed(high)}")


ROWS: tuple[tuple[str, str, Read], ...] = (
    ("gain in greedy reward", "with the right images, same prompts as below", _show_gain),
    ("of it, needs the image", "against grey images", _show_share("blank")),
    ("of it, needs the image", "against another sample's images", _show_share("shuffled")),
    ("of it, needs the image", "against small crops", _show_share("cropped")),
    ("pairs in order", "the start's answers, by log-probability", _show_mean("pairs_in_order")),
    ("pairs in order", "with another image", _show_mean("pairs_in_order", "shuffled")),
    ("Kendall's tau", "of a list's rewards and log-probabilities", _show_mean("tau")),
    ("NDCG", "of the list by log-probability, gains are rewards", _show_mean("ndcg")),
    ("implicit margin", "nats, best over worst less the start's", _show_mean(MARGIN)),
    ("implicit margin", "with another image", _show_mean(MARGIN, "shuffled")),
    ("of it, needs the image", "nats, the first less the second", _show_margin_of_image),
    ("Spearman", "log-probability a token against reward", _show_number("spearman")),
    ("AUC", "reward of 0.5 or more, by log-probability a token", _show_number("auc")),
    ("KL from the start", "nats an answer", _show_drift("kl_nats")),
    ("KL from the start", "nats a token", _show_drift("kl_nats_per_token")),
    ("likelihood of the truth", "nats, change of its log-probability", _show_truth),
)
"""What is shown: label, note, and where a look has it."""
