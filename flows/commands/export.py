"""Commands that hand out what a run made: its model, its ranked lists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.common import STORE, RunArgument, StoreOption, explaining_errors, find_run
from schemas.exports import ListFormatName, PairsName

app = typer.Typer()
FolderArgument = Annotated[
    Path, typer.Argument(help="Where it is written; must not exist, or be empty.")
]


@app.command()
def export(
    run: RunArgument,
    folder: FolderArgument,
    adapter: Annotated[
        bool, typer.Option("--adapter", help="The LoRA adapter alone, in PEFT's format.")
    ] = False,
    store: StoreOption = STORE,
) -> None:
    """Write what a run trained as a folder for transformers and vLLM, with a model card."""
    with explaining_errors():
        from flows.runs.records import load_records
        from perpo_core.export import export_run

        opened, record = find_run(run, store, to_act=True)
        print(export_run(opened, record, load_records(opened), folder, adapter, log=print))


@app.command("export-lists")
def export_lists(
    run: RunArgument,
    folder: FolderArgument,
    form: Annotated[
        ListFormatName, typer.Option("--format", help="Who is to load them: docs/export.md.")
    ] = "hf",
    pairs: Annotated[
        PairsName | None,
        typer.Option(help="What becomes a row; the first that the format has, by default."),
    ] = None,
    min_gap: Annotated[
        float, typer.Option(min=0, help="Least gap of rewards of a pair, or of a whole list.")
    ] = 0.0,
    push: Annotated[
        str | None,
        typer.Option(
            metavar="OWNER/NAME",
            help="Upload the folder to this data set of the Hugging Face Hub, with HF_TOKEN of the "
            "environment; a new one is private.",
        ),
    ] = None,
    store: StoreOption = STORE,
) -> None:
    """Write a run's ranked lists for another trainer, with their images and a card."""
    with explaining_errors():
        from flows.runs.records import load_records
        from perpo_core.export import Asked, check_push, push_folder
        from perpo_core.export import export_lists as write_lists

        token = check_push(push) if push else None  # before anything is written
        opened, record = find_run(run, store, to_act=True)
        asked = Asked(form, pairs, min_gap)
        tally = write_lists(opened, record, load_records(opened), folder, asked, log=print)
        num_lists = tally.lists_of.total()
        print(f"{tally.num_rows:,} rows of {num_lists:,} lists are in {folder}, as {form}")
        if push and token:
            print(f"they are at {push_folder(folder, push, token)}")
