"""What the command line prints about rounds: one table a task."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from flows.commands.display import format_seconds
from perpo_core.perception.tasks import TASKS
from perpo_core.report.formats import capitalise
from perpo_core.report.summary import TASK_LABELS, label_metric
from perpo_core.rounds.measure import RoundRun
from perpo_core.rounds.rows import Change, build_diversity_rows, build_rows, build_start
from schemas.base import TaskName

READING_STYLES = {"better": "green", "worse": "red", "no clear change": ""}


def build_rounds_table(task: TaskName, done: Sequence[RoundRun]) -> Table:
    """A round a row, the start first; test split. Headroom is the start's."""
    rounds = [run.round for run in done]
    seconds = {run.round.number: sum(run.seconds.values()) for run in done}
    table = Table(title=f"{capitalise(TASK_LABELS[task])}, by round", title_justify="left")
    table.add_column("round")
    table.add_column("", no_wrap=True)
    for name in (
        label_metric(TASKS[task].headline), "against the one before", "against the start", "greedy",
        "expected", f"best of {rounds[0].num_samples}", "headroom closed", "different answers",
        "lists", "time",
    ):  # fmt: skip
        table.add_column(name, justify="right", no_wrap=name.startswith("against"))
    start = build_start(task, rounds)
    table.add_row(
        "start", "", start[TASKS[task].headline], "", "", start["greedy_reward"],
        start["sampled_reward"], start["best_of_n"],
    )  # fmt: skip
    learned = dict(build_diversity_rows(task, rounds))
    for row in build_rows(task, rounds):
        num_answers, num_different, *_, num_lists = learned[row.number]
        table.add_row(
            str(row.number), row.decision, row.headline, _describe(row.against_before),
            _describe(row.against_start), row.greedy, row.expected, row.best_of_n,
            row.start_headroom, num_answers and f"{num_different} of {num_answers}", num_lists,
            format_seconds(seconds[row.number]),
        )  # fmt: skip
    return table


def _describe(change: Change) -> Text:
    return Text(f"{change.delta} ({change.interval})", READING_STYLES[change.reading])
