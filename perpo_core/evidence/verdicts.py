"""What a comparison says, in words that follow from its intervals.

A method is better than another only where Holm's corrected p-value of their difference is below
0.05; whatever is not is called not told apart, however large the difference of the means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from perpo_core.evidence.values import name_criterion
from perpo_core.perception.tasks import LOWER_IS_BETTER
from perpo_core.report.formats import capitalise, format_signed, join
from schemas.compare_config import START
from schemas.comparison import ComparisonReport, Pair


def describe_result(report: ComparisonReport) -> Iterator[str]:
    """One sentence on the start, one on each other method, one on what it rests on."""
    labels = {each.name: each.label for each in (report.start, *report.methods)}
    above, below = ("better than", "worse than") if _is_lower_better(report) else ("above", "below")
    judge = name_criterion(report.judge_by)
    yield from _describe_against_start(report.pairs, labels, judge, above, below)
    for method in report.methods:
        worse = [pair.worse for pair in _list_clear(report.pairs) if pair.better == method.name]
        beaten = [labels[name] for name in worse if name != START]
        if beaten:
            yield f"{method.label} is {above} {join(beaten)}."
    yield from _describe_unclear(report)
    yield (
        f"Each on {report.num_prompts[report.task]:,} test prompts under {report.num_seeds} "
        f"{'seed' if report.num_seeds == 1 else 'seeds'}; {_describe_choice(report)}p-values are "
        f"corrected for {len(report.pairs)} comparisons (Holm)."
    )


def _is_lower_better(report: ComparisonReport) -> bool:
    return report.judge_by.partition(".")[2] in LOWER_IS_BETTER


def _describe_choice(report: ComparisonReport) -> str:
    """Nothing where no method had anything to choose among."""
    if not any(method.sweep for method in report.methods):
        return ""
    return f"settings were chosen by {name_criterion(report.choose_by)} on validation, and "


def _describe_against_start(
    pairs: Sequence[Pair], labels: dict[str, str], judge: str, above: str, below: str
) -> Iterator[str]:
    of_start = [pair for pair in pairs if START in (pair.better, pair.worse)]
    better = [_describe(labels[p.better], p) for p in of_start if p.is_clear and p.worse == START]
    worse = [labels[p.worse] for p in of_start if p.is_clear and p.better == START]
    rest = {name for p in of_start if not p.is_clear for name in (p.better, p.worse)} - {START}
    if better:
        yield f"{capitalise(above)} the start in {judge}: {join(better)}."
    if worse:
        yield f"{capitalise(below)} the start: {join(worse)}."
    if rest:
        yield f"Not told from the start: {join([labels[name] for name in labels if name in rest])}."


def _describe_unclear(report: ComparisonReport) -> Iterator[str]:
    """Each pair once, under whichever of the two the configuration has first."""
    unclear = [{pair.better, pair.worse} for pair in report.pairs if not pair.is_clear]
    methods = report.methods
    apart = [
        (first.label, [other.label for other in methods[n:] if {first.name, other.name} in unclear])
        for n, first in enumerate(methods, start=1)
    ]
    num_pairs = len(methods) * (len(methods) - 1) // 2
    if num_pairs > 1 and sum(len(others) for _, others in apart) == num_pairs:
        yield "No two of the methods are told apart."
    elif found := [f"{label} from {join(others)}" for label, others in apart if others]:
        yield f"Not told apart: {'; '.join(found)}."


def _describe(label: str, pair: Pair) -> str:
    found = pair.difference
    return (
        f"{label} by {format_signed(found.delta)} ({format_signed(found.low)} to "
        f"{format_signed(found.high)})"
    )


def _list_clear(pairs: Sequence[Pair]) -> list[Pair]:
    return [pair for pair in pairs if pair.is_clear]
