"""Commands of who runs this every night: the promoted policy, approvals, trends, clean-up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli_common import STORE, RunArgument, StoreOption, build_console, explaining_errors

if TYPE_CHECKING:
    from perpo_core.pointer import Pointer

app = typer.Typer()


@app.command()
def promotions(store: StoreOption = STORE) -> None:
    """List every move of the promoted policy, the current one marked, newest last."""
    with explaining_errors():
        from flows.records import load_records
        from flows.store_tables import build_promotions_table
        from perpo_core.promotions import list_moves
        from perpo_core.store import open_store

        opened = open_store(store)
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
        from flows.lock import share_store
        from perpo_core.pointer import roll_back, roll_back_to_previous
        from perpo_core.store import open_store

        if (digest is None) != previous:
            raise ValueError(
                "name a DIGEST of `perpo promotions`, or --previous, and not both of them"
            )
        opened = open_store(store)
        with share_store(opened):
            moved = roll_back_to_previous(opened) if previous else roll_back(opened, digest or "")
        print(describe_pointer(moved))


@app.command()
def approve(run: RunArgument, store: StoreOption = STORE) -> None:
    """Promote what a run trained, where promote.approval made it wait."""
    with explaining_errors():
        from flows.lock import share_store
        from flows.records import load_record
        from perpo_core.approvals import approve as approve_run
        from perpo_core.report import write_report
        from perpo_core.store import open_store

        opened = open_store(store)
        record = load_record(opened, run)
        with share_store(opened):
            print(describe_pointer(approve_run(opened, record, print)))
            write_report(opened, record)


@app.command()
def reject(run: RunArgument, store: StoreOption = STORE) -> None:
    """Leave the promoted policy where it is; `perpo approve` can still change that."""
    with explaining_errors():
        from flows.lock import share_store
        from flows.records import load_record
        from perpo_core.approvals import reject as reject_run
        from perpo_core.report import write_report
        from perpo_core.store import open_store

        opened = open_store(store)
        record = load_record(opened, run)
        with share_store(opened):
            reject_run(opened, record)
            print(f"the policy of {record.run_id} is not promoted; the promoted policy stays")
            write_report(opened, record)


@app.command()
def gc(
    keep: Annotated[
        int, typer.Option("--keep", min=1, help="Completed runs that are kept of each name.")
    ] = 10,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove it; without this it is only listed.")
    ] = False,
    store: StoreOption = STORE,
) -> None:
    """List what no kept run rests on, with sizes by kind; --delete removes it."""
    with explaining_errors():
        from contextlib import nullcontext

        from flows.lock import lock_store
        from flows.records import load_records
        from flows.store_tables import build_garbage_table
        from perpo_core.garbage import find_garbage, remove_garbage
        from perpo_core.store import open_store

        opened, console = open_store(store), build_console()
        with lock_store(opened) if delete else nullcontext():
            garbage = find_garbage(opened, load_records(opened), keep, time.time())
            if not garbage:
                console.print(f"nothing to remove in {opened.place}", markup=False)
                return
            console.print(build_garbage_table(garbage))
            if delete:
                remove_garbage(opened, garbage)
        print("removed" if delete else "nothing was removed; `perpo gc --delete` does it")


@app.command()
def trends(
    name: Annotated[
        str | None, typer.Option("--name", help="Only runs of this name, in a page of their own.")
    ] = None,
    store: StoreOption = STORE,
) -> None:
    """Write a page of all runs over time and print where it is."""
    with explaining_errors():
        from flows.records import load_records
        from perpo_core.report.trends import write_trends
        from perpo_core.store import open_store

        opened = open_store(store)
        print(write_trends(opened, load_records(opened), name).absolute())


def describe_pointer(pointer: Pointer) -> str:
    """Where the promoted policy is now, and what the next night makes of it."""
    what = "the policy the rounds began with" if pointer.folder is None else "the promoted policy"
    next_night = (
        "the next run with policy.model = promoted starts from it, is compared with it, and makes "
        "anew what depends on the policy"
    )
    if pointer.rolled_back:
        next_night += "; a promotion that was applied before is not applied again"
    return f"{what} is now {pointer.policy_digest[:12]}; {next_night}"
