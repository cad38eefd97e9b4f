"""What the command line prints about a study: a question, its trials, the chosen setting."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from perpo_core.tuning.questions import Question
from perpo_core.tuning.ranges import describe_value, write_overrides, write_toml
from perpo_core.tuning.standing import Standing
from perpo_core.tuning.study import Study

STATE_STYLES = {"done": "", "failed": "red", "running": "yellow"}


def build_question_table(standing: Standing, question: Question) -> Table:
    """Both sides, a trial a row; an objective's best value over both is bold."""
    table = Table(title=f"Comparison {question.number + 1}", title_justify="left")
    table.add_column("")
    table.add_column("trial", justify="right")
    for objective in standing.objectives:
        note = "\nlower is better" if objective.is_lower_better else ""
        table.add_column(f"{objective.label}{note}", justify="right")
    trials = {trial.number: trial for trial in standing.done}
    best_M = standing.take([*question.first, *question.second]).max(axis=0)
    for side, numbers in (("a", question.first), ("b", question.second)):
        for row, number in enumerate(numbers):
            is_best_M = standing.take([number])[0] == best_M
            values = zip(trials[number].values or (), is_best_M, strict=True)
            cells = [Text(f"{value:.4f}", "bold" if best else "") for value, best in values]
            table.add_row("" if row else Text(side, "bold"), str(number), *cells)
        table.add_section()
    return table


def build_trials_table(study: Study, standing: Standing) -> Table:
    """Every trial: settings, objectives, whether it is on the front, its run."""
    table = Table(title=f"Study {study.name}", title_justify="left")
    names = list(study.record.config.tune.ranges)
    table.add_column("trial", justify="right")
    table.add_column("")
    for name in (*names, *(objective.label for objective in study.objectives)):
        table.add_column(name, justify="right")
    table.add_column("utility", justify="right")
    table.add_column("run")
    worth = dict(zip((trial.number for trial in standing.done), standing.utilities_N, strict=True))
    front, chosen = {trial.number for trial in standing.front}, standing.chosen
    for trial in standing.trials:
        state = "front" if trial.number in front else trial.state
        is_chosen = chosen is not None and trial.number == chosen.number
        style = "bold green" if is_chosen else STATE_STYLES.get(state, "")
        values = [f"{value:.4f}" for value in trial.values or ()] or [""] * len(study.objectives)
        table.add_row(
            str(trial.number), Text("chosen" if is_chosen else state, style),
            *(Text(describe_value(trial.settings[name])) for name in names), *values,
            f"{worth[trial.number]:.3f}" if trial.number in worth else "",
            Text(trial.error or trial.run_id or trial.name),
        )  # fmt: skip
    return table


def describe_choice(study: Study, standing: Standing) -> Iterator[str]:
    """The chosen setting as TOML and as --set, what it is worth, and what judges it."""
    chosen = standing.chosen
    if chosen is None:
        yield "no trial came to an end, so that nothing is chosen"
        return
    yield f"chosen: trial {chosen.number}, run {chosen.run_id}"
    rating = standing.rate([chosen.number])
    if rating is not None:
        best = max(standing.rate([trial.number]) or 0.0 for trial in standing.done)
        yield f"{standing.config.user} of it alone: {rating:.4f}; most of any trial: {best:.4f}"
    if standing.config.split == "validation":
        yield (
            "it was chosen on validation prompts, on which the gates of a promotion look too: a "
            "promotion wants others (docs/tune.md)"
        )
    yield f"\n{write_toml(chosen.settings)}\n"
    yield " ".join(f"--set {override}" for override in write_overrides(chosen.settings))
