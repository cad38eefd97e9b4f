"""Commands of who runs this every night: the promoted policy, approvals, trends, clean-up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.common import (
    OPTIONS,
    STORE,
    RunArgument,
    StoreOption,
    build_console,
    explaining_errors,
    find_run,
    open_existing,
)

if TYPE_CHECKING:
    from schemas.run import RunRecord

app = typer.Typer()
CommentOption = Annotated[str, typer.Option("--comment", help="Why; it is kept with the answer.")]


@app.command()
def promotions(store: StoreOption = STORE) -> None:
    """List every move of the promoted policy, the current one marked, newest last."""
    with explaining_errors():
        from flows.commands.store_tables import build_promotions_table
        from flows.runs.records import load_records
        from perpo_core.promotion.history import list_moves

        opened = open_existing(store)
        moves = list_moves(opened, load_records(opened))
        console = build_console()
        if moves:
            console.print(build_promotions_table(moves))
        else:
            console.print(f"nothing was promoted in {opened.place} yet", markup=False)


@app.command()
def rollback(
    digest: Annotated[
        str | None, typer.Argument(help="Of a policy promoted before, or its start; or base.")
    ] = None,
    previous: Annotated[
        bool, typer.Option("--previous", help="What was promoted before the current policy.")
    ] = False,
    store: StoreOption = STORE,
) -> None:
    """Point the promoted policy at an earlier one, or at where the rounds began."""
    with explaining_errors():
        from flows.recipes.answers import describe_pointer
        from perpo_core.promotion.pointer import roll_back, roll_back_to_previous
        from perpo_core.store.locks import share_store

        if (digest is None) != previous:
            raise ValueError(
                "name a DIGEST of `perpo promotions`, or --previous, and not both of them"
            )
        opened = open_existing(store)
        with share_store(opened):
            moved = roll_back_to_previous(opened) if previous else roll_back(opened, digest or "")
        print(describe_pointer(moved))


@app.command()
def approve(run: RunArgument, comment: CommentOption = "", store: StoreOption = STORE) -> None:
    """Promote what a run trained, where promote.approval made it wait."""
    answer(run, store, True, comment)


@app.command()
def reject(run: RunArgument, comment: CommentOption = "", store: StoreOption = STORE) -> None:
    """Leave the promoted policy where it is; `perpo approve` can still change that."""
    answer(run, store, False, comment)


def answer(run: str, store: str, approved: bool, comment: str) -> None:
    """Apply a person's answer, and end the question in the UI where the store is served."""
    with explaining_errors():
        from flows.recipes.answers import apply_answer
        from flows.runs.home import find_served
        from flows.serving.prefect_setup import prefect_for

        opened, record = find_run(run, store, to_act=True)
        print(apply_answer(opened, record, approved, comment))
        if find_served(store) is not None:
            with prefect_for(store, console=OPTIONS.debug):
                from flows.recipes.approval import end_question

                command = "approve" if approved else "reject"
                end_question(opened, record, f"Answered with `perpo {command}`.")


@app.command()
def gc(
    keep: Annotated[
        int, typer.Option("--keep", min=1, help="Completed runs that are kept of each name.")
    ] = 10,
    forget: Annotated[
        list[str] | None,
        typer.Option("--forget", help="Names of which no run is kept, such as 'evidence-*'."),
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove it; without this it is only listed.")
    ] = False,
    store: StoreOption = STORE,
) -> None:
    """List what no kept run rests on, with sizes by kind; --delete removes it."""
    with explaining_errors():
        from contextlib import nullcontext

        from flows.commands.store_tables import build_garbage_table
        from flows.runs.records import read_records
        from perpo_core.housekeeping import find_garbage, remove_garbage
        from perpo_core.housekeeping.retention import list_unknown
        from perpo_core.store.locks import lock_store

        opened, console = open_existing(store), build_console()
        with lock_store(opened) if delete else nullcontext():
            records, lost = read_records(opened)
            kept = choose_kept(records, keep, forget or [])
            garbage = find_garbage(opened, records, kept, time.time())
            if garbage:
                console.print(build_garbage_table(garbage))
            else:
                console.print(f"nothing to remove in {opened.place}", markup=False)
            if garbage and delete:
                unknown = [*lost, *list_unknown(opened, kept)]
                if unknown:
                    print(describe_unknown(unknown))
                    return
                remove_garbage(opened, garbage)
            for said in opened.tidy(time.time()) if delete else []:
                print(said)
        if garbage:
            print("removed" if delete else "nothing was removed; `perpo gc --delete` does it")


def choose_kept(
    records: Sequence[RunRecord], num_keep: int, forget: Sequence[str]
) -> list[RunRecord]:
    """Raises ValueError where a name is to be forgotten that no run has."""
    from perpo_core.housekeeping.retention import choose_runs, list_fitting

    for pattern in forget:
        if not list_fitting(records, pattern):
            raise ValueError(f"--forget {pattern}: no run has such a name; `perpo runs` lists them")
    return choose_runs(records, num_keep, forget)


def describe_unknown(names: list[str]) -> str:
    """Why nothing was removed."""
    return (
        f"nothing was removed, since what is to be kept is not known: {', '.join(names)} cannot be "
        "read; restore that, or move it away if it is of no use, and give the same command again"
    )


@app.command()
def trends(
    name: Annotated[
        str | None, typer.Option("--name", help="Only runs of this name, in a page of their own.")
    ] = None,
    store: StoreOption = STORE,
) -> None:
    """Write a page of all runs over time and print where it is."""
    with explaining_errors():
        from flows.runs.records import load_records
        from perpo_core.report.trends import write_trends

        opened = open_existing(store)
        print(write_trends(opened, load_records(opened), name).absolute())


@app.command()
def deploy(
    prefect_file: Annotated[
        Path | None, typer.Option(help="Instead of infra/prefect.yaml of this checkout.")
    ] = None,
) -> None:
    """Deploy to the server of PREFECT_API_URL, for the store of PERPO_STORE."""
    with explaining_errors():
        from flows.serving.deploying import deploy_all
        from flows.serving.prefect_setup import set_environment
        from flows.serving.serve import PREFECT_FILE

        set_environment(console=OPTIONS.debug)
        deploy_all(partial(print, flush=True), prefect_file or PREFECT_FILE)
