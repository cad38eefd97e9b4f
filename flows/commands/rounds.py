"""`perpo rounds`: several refreshes, each from the policy of the one before, on one page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.common import (
    OPTIONS,
    ConfigArgument,
    SetOption,
    build_console,
    explaining_errors,
    load,
)
from schemas.rounds import MAX_ROUNDS

if TYPE_CHECKING:
    from rich.console import Console

    from perpo_core.rounds.measure import RoundRun
    from schemas.config import RefreshConfig

app = typer.Typer()


@app.command()
def rounds(
    config: ConfigArgument = None,
    overrides: SetOption = None,
    num_rounds: Annotated[
        int, typer.Option("--rounds", min=1, max=MAX_ROUNDS, help="How many refreshes in all.")
    ] = 3,
) -> None:
    """Refresh several times, each from the policy that the one before promoted."""
    with explaining_errors():
        from flows.commands.display import RunConsole, showing
        from flows.serving.prefect_setup import prefect_for
        from perpo_core.rounds.chain import refuse_unfit
        from perpo_core.store.place import require_writable

        resolved = load(config, overrides)
        refuse_unfit(resolved)
        require_writable(resolved.store)
        console = build_console(RunConsole)
        with showing(console), prefect_for(resolved.store, OPTIONS.debug):
            from flows.recipes.rounds import rounds as rounds_flow

            done = rounds_flow(resolved, num_rounds)
        print_rounds(console, resolved, num_rounds, done)


def print_rounds(
    console: Console, config: RefreshConfig, num_rounds: int, done: list[RoundRun]
) -> None:
    """A table by task, what the intervals say, and the page's path, alone on the last line."""
    from flows.commands.rounds_tables import build_rounds_table
    from perpo_core.rounds.page import locate_page
    from perpo_core.rounds.words import compute_verdict
    from perpo_core.store.open import open_store

    measured = [run.round for run in done]
    for task in measured[-1].tasks:
        console.print(build_rounds_table(task, done))
    for sentence in compute_verdict(measured, num_rounds):
        console.print(sentence, markup=False, highlight=False, soft_wrap=True)
    print(locate_page(open_store(config.store), config.name))
