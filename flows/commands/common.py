"""What the commands share: their usual arguments, the console, and errors in one sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from perpo_core.process.troubles import explain
from perpo_core.store.left_out import forget_left_out, list_left_out
from perpo_core.store.place import Place

if TYPE_CHECKING:
    from rich.console import Console

    from perpo_core.store.store import Store
    from schemas.config import RefreshConfig
    from schemas.run import RunRecord


@dataclass
class Options:
    """What is said before the command."""

    debug: bool = False


OPTIONS = Options()

StoreOption = Annotated[
    str,  # a Path would take a slash from s3://
    typer.Option(
        "--store", envvar="PERPO_STORE", help="The folder of artifacts and runs, or s3://..."
    ),
]
RunArgument = Annotated[str, typer.Argument(help="A run id, or latest.")]
ConfigArgument = Annotated[
    Path | None, typer.Argument(help="Configuration file (TOML); the defaults without one.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. train.beta=0.2."),
]
STORE = "store"
INTERRUPTED = "interrupted; what is finished stays in the store and the same command resumes"


def load(config: Path | None, overrides: list[str] | None) -> RefreshConfig:
    """The checked configuration."""
    from perpo_core.configuration.load import load_config

    return load_config(config, overrides or [])


def open_existing(store: Place) -> Store:
    """A store to read from; raises ValueError where there is none, and makes no folder."""
    from perpo_core.store.open import open_store
    from perpo_core.store.place import require_store

    require_store(store)
    return open_store(store)


def find_run(run: str, store: Place, to_act: bool = False) -> tuple[Store, RunRecord]:
    """The store and the record of a run (flows/runs/records.py, load_record)."""
    from flows.runs.records import load_record

    opened = open_existing(store)
    return opened, load_record(opened, run, to_act)


def build_console(cls: type[Console] | None = None) -> Console:
    """The terminal, or plain wide text for files and pipes."""
    from rich.console import Console

    build = cls or Console
    return build() if sys.stdout.isatty() else build(width=160, color_system=None)


def print_report_path(store: Store, record: RunRecord) -> None:
    """The path alone on a line, never wrapped."""
    if record.report is not None:
        print(store.fetch_file(record.report))


def print_profiles(store: Store, record: RunRecord) -> None:
    """Where they lie and what opens them, or why there are none."""
    from flows.runs.links import find_profiles

    folder = find_profiles(store, record)
    if any(folder.rglob("*.json*")):
        print(f"profiles, to be opened at https://ui.perfetto.dev: {folder}")
    else:
        print("no profile was taken: no stage that takes one was made; add --force-from generate")


@contextmanager
def explaining_errors() -> Iterator[None]:
    """What the user can mend is one red sentence and an exit code; bugs keep their trace.

    Files of a store that were left out are named at the end, however it ends.
    """
    forget_left_out()
    try:
        with naming_left_out():
            yield
    except KeyboardInterrupt as interruption:
        tell(str(interruption) or INTERRUPTED, 130)
    except Exception as error:
        code = find_exit_code(error)
        if OPTIONS.debug or code is None:
            raise
        tell(explain(error), code)


@contextmanager
def naming_left_out() -> Iterator[None]:
    """Say on stderr, once for each, which files were left out: they change nothing else."""
    try:
        yield
    finally:
        for sentence in list_left_out():
            typer.secho(sentence, fg=typer.colors.YELLOW, err=True)


def find_exit_code(error: Exception) -> int | None:
    """2 for what the user can mend, 1 for a broken engine, None for a bug."""
    from pydantic import ValidationError

    from flows.serving.server import ServerEnded
    from perpo_core.process.parent import ChildFailed

    if isinstance(error, ChildFailed | ServerEnded):
        return 1
    is_for_user = isinstance(error, ValueError | OSError) and not isinstance(error, ValidationError)
    return 2 if is_for_user else None


def tell(sentence: str, code: int) -> None:
    """Print to stderr, red in a terminal, and end with the code."""
    typer.secho(sentence, fg=typer.colors.RED, err=True)
    raise typer.Exit(code)
