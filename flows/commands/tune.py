"""`perpo tune`: settings are tried, a person compares, and what they would choose is found."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.common import (
    OPTIONS,
    ConfigArgument,
    SetOption,
    build_console,
    explaining_errors,
    load,
    print_report_path,
)

if TYPE_CHECKING:
    from rich.console import Console

    from perpo_core.tuning.study import Study

app = typer.Typer()


@app.command()
def tune(
    config: ConfigArgument = None,
    overrides: SetOption = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the page, on 127.0.0.1; 0: any that is free.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open a browser where there is a display.")] = True,
) -> None:
    """Try settings of [tune], learn from comparisons what is wanted, and choose."""
    with explaining_errors():
        from flows.commands.asking import asking
        from flows.commands.display import RunConsole, showing
        from flows.serving.prefect_setup import prefect_for
        from perpo_core.store.place import require_writable

        resolved = load(config, overrides)
        require_writable(resolved.store)
        console = build_console(RunConsole)
        say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
        with prefect_for(resolved.store, OPTIONS.debug), asking(console, port, browser) as ask:
            from flows.recipes.tuning import tune as run_study

            study = run_study(resolved, ask, say, partial(showing, console))
        print_study(console, study)


def print_study(console: Console, study: Study) -> None:
    """All trials, what was learned, and the chosen setting; its run's report comes last."""
    from flows.commands.tune_tables import build_trials_table, describe_choice
    from flows.runs.records import load_record
    from perpo_core.tuning.standing import compute_standing
    from perpo_core.tuning.words import describe_utility

    standing = compute_standing(study)
    console.print(build_trials_table(study, standing))
    for line in (*describe_utility(standing), *describe_choice(study, standing)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if standing.chosen is not None and standing.chosen.run_id is not None:
        print_report_path(study.store, load_record(study.store, standing.chosen.run_id))
