"""Every two of start and methods, the largest difference first."""

from __future__ import annotations

from dataclasses import dataclass

from perpo_core.evidence.page.marks import Key
from perpo_core.evidence.page.runs import link_list
from perpo_core.evidence.page.tables import list_contenders
from perpo_core.evidence.page.words import format_effect, format_interval, format_p
from perpo_core.report.formats import format_signed
from schemas.comparison import ComparisonReport, Pair


@dataclass(frozen=True)
class Side:
    """One of a pair, and where its runs are listed."""

    key: Key
    link: str


@dataclass(frozen=True)
class PairRow:
    """A pair as the table of all of them has it."""

    better: Side
    worse: Side
    difference: str
    interval: str
    p: str
    p_holm: str
    effect: str
    is_clear: bool


def sort_pairs(report: ComparisonReport) -> list[Pair]:
    """The largest difference first."""
    return sorted(report.pairs, key=lambda pair: -abs(pair.difference.delta))


def list_sides(report: ComparisonReport) -> dict[str, Side]:
    """By name of start and methods."""
    return {method.name: Side(key, link_list(method)) for key, method in list_contenders(report)}


def build_pair_rows(report: ComparisonReport) -> list[PairRow]:
    """All of them."""
    sides = list_sides(report)
    return [
        PairRow(
            better=sides[pair.better],
            worse=sides[pair.worse],
            difference=format_signed(pair.difference.delta),
            interval=format_interval(pair.difference),
            p=format_p(pair.difference.p_value),
            p_holm=format_p(pair.p_holm),
            effect=format_effect(pair.difference),
            is_clear=pair.is_clear,
        )
        for pair in sort_pairs(report)
    ]
