"""What each method takes, beside what it gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from perpo_core.evidence.page.marks import Key
from perpo_core.evidence.page.runs import Runs, link_list
from perpo_core.evidence.page.tables import Change, get_metric, list_contenders
from perpo_core.evidence.page.words import NONE
from perpo_core.report.tables import format_duration
from schemas.base import StageName
from schemas.comparison import ComparisonReport, TrialCost

TRAINING: tuple[StageName, ...] = ("contrast", "train")
ANSWERS: tuple[StageName, ...] = ("generate", "score")
EVALUATION: tuple[StageName, ...] = ("evaluate",)


@dataclass(frozen=True)
class CostRow:
    """What a method takes, beside what it gains."""

    key: Key
    link: str
    change: Change | None
    training: str
    """Median over the judged runs, as the next ones."""
    answers: str
    evaluation: str
    memory: str
    sweep: str
    """All of its sweep together."""
    num_runs: str
    """Of the sweep and judged."""


def build_cost_rows(report: ComparisonReport, runs: Runs) -> list[CostRow]:
    """Of the methods; of one whose runs are not known, dashes."""
    metric = get_metric(report)
    rows = []
    for key, method in list_contenders(report)[1:]:
        change = method.tasks[report.task].metrics[metric].change
        judged, sweep = runs.list_judged(method.name), runs.list_sweep(method.name)
        memory = [trial.peak_memory_gb for trial in judged if trial.peak_memory_gb is not None]
        rows.append(
            CostRow(
                key=key,
                link=link_list(method),
                change=Change.of(metric, change) if change else None,
                training=describe_median(judged, TRAINING),
                answers=describe_median(judged, ANSWERS),
                evaluation=describe_median(judged, EVALUATION),
                memory=f"{max(memory):.2f} GB" if memory else NONE,
                sweep=describe_total(sweep, (*TRAINING, *EVALUATION)),
                num_runs=f"{len(sweep)} + {len(judged)}",
            )
        )
    return rows


def describe_median(trials: Sequence[TrialCost], stages: Sequence[StageName]) -> str:
    """Over trials that have one of these stages, of their seconds together."""
    found = [total for trial in trials if (total := add_seconds(trial, stages)) is not None]
    return format_duration(median(found)) if found else NONE


def describe_total(trials: Sequence[TrialCost], stages: Sequence[StageName]) -> str:
    found = [total for trial in trials if (total := add_seconds(trial, stages)) is not None]
    return format_duration(sum(found)) if found else NONE


def add_seconds(trial: TrialCost, stages: Sequence[StageName]) -> float | None:
    """Of those of these stages that the trial has; None if it has none."""
    found = [trial.seconds[stage] for stage in stages if stage in trial.seconds]
    return sum(found) if found else None
