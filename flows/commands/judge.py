"""Commands about judges: `perpo judge tune`, a fairer instruction."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.commands.common import (
    ConfigArgument,
    SetOption,
    build_console,
    explaining_errors,
    load,
)

if TYPE_CHECKING:
    from perpo_core.stages.stage import StageContext
    from schemas.config import RefreshConfig

app = typer.Typer(no_args_is_help=True, help="Judges: models behind a server that reward answers.")
PAIR = "KEY=VALUE"


@app.callback()
def judge() -> None:
    """Judges: models behind a server that reward answers."""


@app.command()
def tune(
    to: Annotated[Path, typer.Option("--to", help="The instruction file to write.")],
    config: ConfigArgument = None,
    overrides: SetOption = None,
    task: Annotated[
        str | None, typer.Option("--task", help="Whose judge, where several tasks have one.")
    ] = None,
    candidates: Annotated[
        int, typer.Option(min=1, max=100, help="Instructions compared a round.")
    ] = 5,
    rounds: Annotated[
        int, typer.Option(min=1, max=100, help="Each paraphrases the fairest so far.")
    ] = 5,
    documents: Annotated[
        int, typer.Option(min=1, max=10_000, help="Questions on whose answers they are compared.")
    ] = 10,
    check_documents: Annotated[
        int, typer.Option(min=1, max=10_000, help="Others, to measure the first and the last on.")
    ] = 20,
    pairs: Annotated[
        int, typer.Option(min=1, max=10_000, help="Most pairs of answers a question, 2 calls each.")
    ] = 8,
    seed: Annotated[
        int, typer.Option(min=0, max=2**31 - 1, help="Of questions, pairs and paraphrases.")
    ] = 0,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="WORDS", help="Every paraphrase has to have them."),
    ] = None,
    writer: Annotated[
        list[str] | None,
        typer.Option(
            "--writer",
            metavar=PAIR,
            help="Of who writes paraphrases, if not the judge's own: base_url, model, api_key_env, "
            "timeout_s, retries, backoff_s, max_tokens, temperature (0.9), extra.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file, be it the one in use.")
    ] = False,
) -> None:
    """Look for an instruction under which the judge favours no place, and write it to a file."""
    with explaining_errors():
        from flows.commands.judge_tables import build_check_table, build_rounds_table, describe
        from perpo_core.judge_tuning import (
            build_writer,
            check_target,
            find_judge,
            tune_judge,
            write_outcome,
        )
        from perpo_core.store.locks import share_store
        from schemas.judge_tuning import JudgeTuning

        resolved = load(config, overrides)
        settings = JudgeTuning(
            candidates=candidates, rounds=rounds, documents=documents,
            check_documents=check_documents, pairs=pairs, seed=seed, keep=tuple(keep or ()),
        )  # fmt: skip
        of_task, options = find_judge(resolved.score, task)
        asked = options, build_writer(options, read_pairs(writer or ()))
        check_target(to, options.instruction, overwrite)
        context = build_context(resolved)
        with share_store(context.store):
            report = tune_judge(context, of_task, *asked, settings)
        beside = write_outcome(report, to)
        console = build_console()
        console.print(build_rounds_table(report))
        console.print(build_check_table(report))
        for line in describe(report, to):
            print(line)
        print(beside)


def build_context(config: RefreshConfig) -> StageContext:
    """The store, which has to hold answers, and the policy whose boxes are read."""
    from perpo_core.judge_tuning import require_candidates
    from perpo_core.policy.resolve import resolve_policy
    from perpo_core.stages.stage import StageContext
    from perpo_core.store.open import open_store
    from perpo_core.store.place import require_writable

    store = open_store(config.store)
    require_candidates(store)
    require_writable(config.store)
    policy = resolve_policy(config.policy, store)
    return StageContext(store, config, policy, log=partial(print, flush=True))


def read_pairs(given: Sequence[str]) -> dict[str, Any]:
    """Options by name, their values as TOML has them. Raises ValueError for what is no pair."""
    from perpo_core.configuration.load import parse_value

    pairs = [(each, *each.partition("=")) for each in given]
    for whole, name, equals, value in pairs:
        if not (name.strip() and equals and value.strip()):
            raise ValueError(f"--writer {whole}: write it as {PAIR}, such as temperature=0.7")
    return {name.strip(): parse_value(value.strip()) for _, name, _, value in pairs}
