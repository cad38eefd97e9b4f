"""`perpo compare`: methods against each other, each at its best setting, over several seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from flows.commands.common import (
    OPTIONS,
    ConfigArgument,
    SetOption,
    build_console,
    explaining_errors,
    load,
)

if TYPE_CHECKING:
    from rich.console import Console

    from schemas.comparison import ComparisonReport

app = typer.Typer()


@app.command()
def compare(config: ConfigArgument = None, overrides: SetOption = None) -> None:
    """Run every method of [compare], each at its best setting and over several seeds, and judge."""
    with explaining_errors():
        from flows.commands.compare_display import showing_trials
        from flows.commands.display import RunConsole
        from flows.serving.prefect_setup import prefect_for
        from perpo_core.evidence.writing import name_folder
        from perpo_core.store.open import open_store
        from perpo_core.store.place import require_writable

        resolved = load(config, overrides)
        require_writable(resolved.store)
        console = build_console(RunConsole)
        with showing_trials(console), prefect_for(resolved.store, OPTIONS.debug):
            from flows.recipes.comparing import compare as compare_flow

            report = compare_flow(resolved)
        print_comparison(console, report)
        store = open_store(resolved.store)
        print(store.fetch_file(f"{name_folder(resolved.name)}/report.html"))


def print_comparison(console: Console, report: ComparisonReport) -> None:
    """A table of methods, one of pairs, and what follows from them."""
    from flows.commands.compare_tables import build_methods_table, build_pairs_table

    console.print(build_methods_table(report))
    console.print(build_pairs_table(report))
    for sentence in report.verdicts:
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
