"""What `perpo judge tune` prints: fairness by round, before and after, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table
from rich.text import Text

from schemas.judge_tuning import JudgeTuningReport, TriedInstruction, TuningRound


def build_rounds_table(report: JudgeTuningReport) -> Table:
    """The fairest instruction after each round, and what the round was made of."""
    title = f"Fairness by round, {len(report.sample_ids)} documents of {report.task}"
    table = Table(title=title, title_justify="left")
    for name in ("round", "compared", "fairest of it", "so far", "P(first)", "consistent"):
        table.add_column(name, justify="right")
    table.add_column("decided, tied, unread", justify="right")
    table.add_column("dropped")
    for number, each in enumerate(report.rounds, 1):
        best = each.best
        table.add_row(
            str(number), str(len(each.tried)), format_value(find_fairest(each)),
            format_value(best.fairness), format_value(best.first_share),
            format_value(best.consistency), describe_verdicts(best),
            Text(", ".join(f"{num} {why}" for why, num in each.dropped.items())),
        )  # fmt: skip
    return table


def find_fairest(found: TuningRound) -> float | None:
    """Of the instructions compared in a round that are of use; None of none."""
    values = [each.fairness for each in found.tried if each.is_of_use]
    return max((value for value in values if value is not None), default=None)


def build_check_table(report: JudgeTuningReport) -> Table:
    """The first and the chosen instruction on documents that chose nothing."""
    title = f"On {len(report.check_sample_ids)} other documents"
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    table.add_column("change, 95% interval")
    before, after = report.before, report.after
    for label, name in (
        ("fairness, -|P(first) - 1/2|", "fairness"),
        ("P(first)", "first_share"),
        ("consistent pairs", "consistency"),
    ):
        table.add_row(label, *(format_value(getattr(each, name)) for each in (before, after)), "")
    verdicts = (describe_verdicts(each) for each in (before, after))
    table.add_row("decided, tied, unread", *verdicts, "")
    table.add_row(Text(f"agrees with {report.known_reward}"), *describe_agreement(report))
    return table


def describe_agreement(report: JudgeTuningReport) -> Iterator[str]:
    """Before, after, and the change."""
    found = report.agreement
    if found is None:
        yield from ("", "", "no pair that it tells apart was read")
        return
    yield format_value(found.base)
    yield format_value(found.trained)
    interval = f"({found.delta_low:+.4f} to {found.delta_high:+.4f})"
    yield f"{found.delta:+.4f} {interval}, {found.n} pairs"


def describe_verdicts(tried: TriedInstruction) -> str:
    return f"{tried.num_decided}, {tried.num_tied}, {tried.num_unread}"


def format_value(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def describe(report: JudgeTuningReport, to: Path) -> Iterator[str]:
    """What came of it, and how it is taken into use."""
    num = sum(len(each.tried) for each in report.rounds) - 1
    if not report.is_changed:
        yield f"none of {num} paraphrases was fairer; {to} has the instruction as it was"
        return
    if is_fairer_elsewhere(report):
        yield f"{to} has the fairest of {num} paraphrases"
    else:
        yield (
            f"{to} has the fairest of {num} paraphrases, but on documents that chose nothing it is "
            "not fairer than before: keep the instruction you have, or give --documents more"
        )
    yield (
        f'score.{report.task}.options.judge.instruction = "{to}" takes it into use; scores are '
        "then made anew"
    )


def is_fairer_elsewhere(report: JudgeTuningReport) -> bool:
    """On the documents that chose nothing; what decides nothing is the least fair."""
    before, after = (
        -1.0 if each.fairness is None else each.fairness for each in (report.before, report.after)
    )
    return after > before
