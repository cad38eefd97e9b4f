"""The command `perpo import`: other formats as JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from flows.commands.common import explaining_errors

app = typer.Typer()
PAIR = "KEY=VALUE"


@app.command("import")
def import_rows(
    kind: Annotated[
        str,
        typer.Argument(
            help="coco, refcoco, llava, messages, parquet, folder, perpo-json or jsonl."
        ),
    ],
    paths: Annotated[
        list[str], typer.Argument(help="Files or folders; hub:OWNER/NAME is in the local cache.")
    ],
    to: Annotated[Path, typer.Option("--to", help="The JSON Lines file to write.")],
    images: Annotated[
        Path | None, typer.Option("--images", help="Folder of the images; else each file's own.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", help="What the records are asked.")] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="The question, as source.prompt has it.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar=PAIR, help="Key of a row = column of the table."),
    ] = None,
    splits: Annotated[
        list[str] | None,
        typer.Option("--split", metavar=PAIR, help="Pattern of a file's name = its split."),
    ] = None,
    fail: Annotated[
        bool, typer.Option("--fail", help="End at the first bad record; else they are counted.")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar=PAIR, help="Any other setting, e.g. source.turns=each."),
    ] = None,
) -> None:
    """Write data of another format as JSON Lines, with counts of what was left out and why."""
    with explaining_errors():
        from perpo_core.configuration.load import load_config
        from perpo_core.stages.collect.importing import describe_source, write_rows
        from schemas.sources import RowsSource

        settings = [
            *_set("kind", kind),
            *_set("files", paths),
            *_set("on_bad_row", "fail" if fail else "drop"),
            *_set("images", images and str(images)),
            *_set("task", task),
            *_set("prompt", prompt),
            *_set("columns", _read_pairs("--column", columns)),
            *_set("splits", _read_pairs("--split", splits)),
            *(overrides or []),
        ]
        source = load_config(None, settings).source
        if not isinstance(source, RowsSource):
            raise ValueError(f"kind {kind}: there are no files to import")
        done = write_rows(source, to)
        print(f"{done.num_rows} rows are in {to}, {done.num_images} images were taken out")
        if done.num_answers:
            print(
                f"{done.num_answers} answers with their rewards were left out: the policy that is "
                "trained samples its own"
            )
        for reason, number in done.reasons.most_common():
            print(f"{number} x {reason}, first {done.firsts[reason]}")
        print(f"\n{describe_source(done, to)}")


def _set(key: str, value: object) -> Iterator[str]:
    """An override, as TOML writes it; none where nothing was said."""
    from perpo_core.configuration.words import write_toml_value

    if value:
        yield f"source.{key}={write_toml_value(value)}"


def _read_pairs(option: str, given: list[str] | None) -> dict[str, str]:
    pairs = [each.partition("=") for each in given or []]
    for key, equals, value in pairs:
        if not (key and equals and value):
            raise ValueError(f"{option} {key}{equals}{value}: write it as KEY=VALUE")
    return {key.strip(): value.strip() for key, _, value in pairs}
