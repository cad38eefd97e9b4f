"""<store>/reports/rounds-<name>.html: accuracy, headroom and diversity by round, on one page.

The same look and the same rules as a run's report: no script, nothing loaded, everything escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perpo_core.perception.tasks import TASKS
from perpo_core.report.formats import capitalise
from perpo_core.report.plots import Plot
from perpo_core.report.style import build_environment, load_style
from perpo_core.report.summary import TASK_LABELS, is_lower_better, label_metric
from perpo_core.report.tables import format_duration
from perpo_core.report.write import REPORTS_FOLDER
from perpo_core.rounds.measure import RoundRun
from perpo_core.rounds.plots import build_plots
from perpo_core.rounds.rows import (
    DIVERSITY_COLUMNS,
    Row,
    build_diversity_rows,
    build_rows,
    build_start,
)
from perpo_core.store.store import Store
from schemas.base import ALL_STAGES, StageName, TaskName
from schemas.rounds import Round, RoundsReport

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class TaskSection:
    """One task of the page."""

    task: TaskName
    label: str
    metric: str
    lower_is_better: bool
    sentence: str
    headline: str
    start: dict[str, str]
    plots: list[Plot]
    rows: list[Row]
    diversity: list[tuple[int, list[str]]]


@dataclass(frozen=True)
class RoundRow:
    """One round: its run, what it learned from, and what it took."""

    round: Round
    run_id: str
    page: str | None
    """The run's report, relative to the page."""
    stale: str
    dropped: str
    times: list[str]
    whole: str


def write_rounds(store: Store, report: RoundsReport, runs: Sequence[RoundRun]) -> Path:
    """Write rounds-<name>.json and rounds-<name>.html; the path of the page."""
    base = f"{REPORTS_FOLDER}/rounds-{report.name}"
    store.write(f"{base}.json", (report.model_dump_json(indent=2) + "\n").encode())
    store.write(f"{base}.html", build_page(report, runs).encode())
    return locate_page(store, report.name)


def locate_page(store: Store, name: str) -> Path:
    """Where the page of the rounds of a name can be read."""
    return store.fetch_file(f"{REPORTS_FOLDER}/rounds-{name}.html")


def build_page(report: RoundsReport, runs: Sequence[RoundRun]) -> str:
    """The whole page; raises ValueError before the first round is measured."""
    if not report.rounds:
        raise ValueError(f"the rounds of {report.name} have not begun, so that there is no page")
    stages = [stage for stage in ALL_STAGES if any(stage in run.seconds for run in runs)]
    ending, *sentences = report.verdict
    tasks = list(report.rounds[-1].tasks)
    return build_environment(FOLDER).get_template("rounds.html").render(
        style=load_style(),
        report=report,
        ending=ending,
        num_samples=report.rounds[0].num_samples,
        sections=[
            build_section(report, task, sentence)
            for task, sentence in zip(tasks, sentences, strict=True)
        ],
        diversity_columns=DIVERSITY_COLUMNS,
        rounds=[build_round_row(run, stages) for run in runs],
        stages=stages,
    )  # fmt: skip


def build_section(report: RoundsReport, task: TaskName, sentence: str) -> TaskSection:
    """Curves and tables of one task."""
    metric = TASKS[task].headline
    is_trained = any(task in each.tasks and each.tasks[task].diversity for each in report.rounds)
    return TaskSection(
        task=task,
        label=capitalise(TASK_LABELS[task]),
        metric=label_metric(metric),
        lower_is_better=is_lower_better(metric),
        sentence=sentence,
        headline=metric,
        start=build_start(task, report.rounds),
        plots=build_plots(report.name, task, report.rounds),
        rows=build_rows(task, report.rounds),
        diversity=build_diversity_rows(task, report.rounds) if is_trained else [],
    )


def build_round_row(run: RoundRun, stages: Sequence[StageName]) -> RoundRow:
    """What a round was and took; seconds are those of the work, in whichever run that was."""
    lists, each = run.round.lists, run.round
    reasons = [f"{reason} {count:,}" for reason, count in lists.dropped.items()]
    share = each.num_stale_prompts / each.num_prompts if each.num_prompts else 0
    return RoundRow(
        round=each,
        run_id=run.record.run_id,
        page=f"{run.record.run_id}/report.html" if run.record.report else None,
        stale=f"{each.num_stale_prompts:,} ({share:.0%})" if each.num_stale_prompts else "none",
        dropped=", ".join(reasons) or "none",
        times=[
            format_duration(run.seconds[stage]) if stage in run.seconds else "" for stage in stages
        ],
        whole=format_duration(sum(run.seconds.values())),
    )
