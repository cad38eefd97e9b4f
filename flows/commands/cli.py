"""The command `perpo`. Everything heavy is imported inside the command that needs it.

Exit codes: 0 done, 1 an engine broke, 2 something the user can mend (one sentence says what),
130 interrupted. --debug before the command shows tracebacks and Prefect's own log lines.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.commands.common import (
    OPTIONS,
    STORE,
    ConfigArgument,
    RunArgument,
    SetOption,
    StoreOption,
    build_console,
    explaining_errors,
    find_run,
    load,
    open_existing,
    print_profiles,
    print_report_path,
)
from flows.commands.compare import app as compare_app
from flows.commands.export import app as export_app
from flows.commands.importing import app as import_app
from flows.commands.judge import app as judge_app
from flows.commands.rounds import app as rounds_app
from flows.commands.store import app as store_app
from flows.commands.terminal import make_printable
from flows.commands.tune import app as tune_app
from perpo_core.process.environment import apply_defaults
from perpo_core.store.place import Place
from schemas.base import StageName

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemas.run import RunRecord

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Perceptual Preference Optimization: collect, generate, score, materialize, train, "
    "evaluate, promote.",
)
app.add_typer(store_app)
app.add_typer(import_app)
app.add_typer(export_app)
app.add_typer(tune_app)
app.add_typer(compare_app)
app.add_typer(rounds_app)
app.add_typer(judge_app, name="judge")


ProfileOption = Annotated[
    bool,
    typer.Option("--profile", help="Write torch profiles of the stages that are made."),
]
LEVEL_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


@app.callback()
def main(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and Prefect's own log lines.")
    ] = False,
) -> None:
    OPTIONS.debug = debug
    make_printable()
    apply_defaults()  # before the first import of a library that reads them


@app.command()
def refresh(
    config: ConfigArgument = None,
    overrides: SetOption = None,
    force_from: Annotated[
        StageName | None,
        typer.Option("--force-from", help="Make this stage and all after it anew."),
    ] = None,
    profile: ProfileOption = False,
) -> None:
    """Run the whole pipeline; what the store already has is reused."""
    with explaining_errors():
        resolved = load(config, overrides)

        def check() -> None:
            from flows.runs.checks import check_ahead

            check_ahead(resolved)

        def run() -> RunRecord:
            from flows.recipes.refresh import refresh as refresh_flow

            return refresh_flow(resolved, force_from, profile)

        run_and_tell(resolved.store, run, check, profile)


@app.command()
def rerun(
    run: RunArgument,
    from_stage: Annotated[StageName, typer.Option("--from", help="The first stage to run.")],
    only: Annotated[bool, typer.Option("--only", help="Only that stage.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make anew what the store already has.")
    ] = False,
    profile: ProfileOption = False,
    store: StoreOption = STORE,
) -> None:
    """Run a recorded run again from one of its stages."""
    with explaining_errors():
        from flows.runs.records import refuse_other_settings

        def run_flow() -> RunRecord:
            from flows.recipes.refresh import rerun as rerun_flow

            return rerun_flow(run, from_stage, only, force, store, profile)

        refuse_other_settings(find_run(run, store, to_act=True)[1])
        run_and_tell(store, run_flow, profile=profile)


@app.command()
def plan(config: ConfigArgument = None, overrides: SetOption = None) -> None:
    """Say what a refresh would run and what it would reuse."""
    with explaining_errors():
        from flows.commands.tables import build_plan_table
        from flows.recipes.planning import plan_refresh
        from flows.runs.records import load_records
        from perpo_core.policy.resolve import resolve_policy
        from perpo_core.store.open import open_store

        resolved = load(config, overrides)
        store = open_store(resolved.store)
        policy = resolve_policy(resolved.policy, store)
        stages = plan_refresh(resolved, policy, load_records(store))
        console = build_console()
        console.print(f"policy {policy.digest[:12]} in {policy.folder}", markup=False)
        console.print(build_plan_table(stages))
        reused = sum(planned.verdict == "reused" for planned in stages)
        console.print(f"{reused} of {len(stages)} stages would be reused")


@app.command()
def runs(store: StoreOption = STORE) -> None:
    """List the runs of a store, newest last."""
    with explaining_errors():
        from flows.commands.tables import build_runs_table
        from flows.runs.records import load_records

        opened = open_existing(store)
        records = load_records(opened)
        console = build_console()
        if records:
            console.print(build_runs_table(opened, records))
        else:
            console.print(f"no run in {opened.place} yet", markup=False)


@app.command()
def show(run: RunArgument = "latest", store: StoreOption = STORE) -> None:
    """Show one run: status, metrics, stages, configuration."""
    with explaining_errors():
        from flows.commands.tables import describe_status, print_run
        from flows.runs.records import describe_unread

        opened, record = find_run(run, store)
        console = build_console()
        console.print(f"{record.run_id}: {describe_status(opened, record)}", markup=False)
        if record.error:
            console.print(record.error, style="red", markup=False)
        print_run(console, opened, record)
        console.print_json(record.config.model_dump_json())
        if record.unread:
            said = f"recorded by another version of perpo: {describe_unread(record.unread)}"
            console.print(said, style="yellow", markup=False, soft_wrap=True)
        print_report_path(opened, record)


@app.command()
def report(run: RunArgument = "latest", store: StoreOption = STORE) -> None:
    """Write a run's report again, also of a run that stopped halfway, and print where it is."""
    with explaining_errors():
        from perpo_core.report import write_report

        print(write_report(*find_run(run, store)).absolute())


@app.command()
def view(
    run: RunArgument = "latest",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0: any that is free.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open a browser where there is a display.")] = True,
    store: StoreOption = STORE,
) -> None:
    """Look at a run's samples, lists, dropped rows and answers in a browser, until Ctrl-C."""
    with explaining_errors():
        from flows.serving.view_server import serve_view

        opened, record = find_run(run, store)
        say = partial(print, flush=True)
        serve_view(opened, record.run_id, port, say=say, browser=browser)


@app.command()
def doctor(
    config: ConfigArgument = None,
    overrides: SetOption = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Sample a few answers: which box format scores?"),
    ] = False,
) -> None:
    """Check a configuration, its data and its policy before any work."""
    with explaining_errors():
        from perpo_core.doctor import check_run, has_errors

        resolved = load(config, overrides)
        findings = check_run(resolved)
        console = build_console()
        for finding in findings:
            console.print(f"{finding.level:8}{finding.what}", style=LEVEL_STYLES[finding.level],
                          markup=False, highlight=False, soft_wrap=True)  # fmt: skip
        if has_errors(findings):
            raise typer.Exit(2)
        if probe:
            from perpo_core.doctor.probe import describe_probe, probe_policy
            from perpo_core.policy.resolve import resolve_policy
            from perpo_core.store.open import open_store

            policy = resolve_policy(resolved.policy, open_store(resolved.store))
            for line in describe_probe(probe_policy(resolved, policy, log=print)):
                print(line)


@app.command()
def bootstrap(
    folder: Annotated[Path, typer.Argument(help="Where the new policy is written.")],
    work: Annotated[
        Path | None,
        typer.Option(help="What a killed bootstrap resumes from; FOLDER-work by default."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, scenes and noise.")] = 0,
    threads: Annotated[int, typer.Option(min=1, max=256, help="CPU threads.")] = 2,
) -> None:
    """Make the built-in policy from scratch, by supervised training (hours)."""
    with explaining_errors():
        from perpo_core.bootstrap import bootstrap as make_policy
        from schemas.bootstrap import BootstrapConfig

        settings = BootstrapConfig(seed=seed, threads=threads)
        print(make_policy(settings, folder, work or Path(f"{folder}-work"), print))


@app.command()
def serve(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the UI, on 127.0.0.1.")] = 4200,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="End with the process that started this.")
    ] = False,
    store: StoreOption = STORE,
) -> None:
    """Serve Prefect's UI, the nightly schedule and a worker on this machine until Ctrl-C."""
    with explaining_errors():
        from flows.serving.prefect_setup import set_environment
        from flows.serving.serve import serve as serve_store
        from perpo_core.store.place import require_writable

        require_writable(store)
        set_environment(console=OPTIONS.debug)
        say = partial(print, flush=True)  # a log that is followed shows the address at once
        serve_store(store, port, say=say, with_parent=with_parent)


@app.command()
def config() -> None:
    """Print every setting: what is allowed, its default and what it does."""
    from perpo_core.configuration.load import describe_config

    console = build_console()
    for field in describe_config():
        console.print(f"[bold]{field.key}[/] = ", end="", highlight=False)
        console.print(field.default, style="cyan", markup=False, highlight=False)
        console.print(f"    {field.description}", markup=False, highlight=False)
        console.print(f"    {field.allowed}", style="dim", markup=False, highlight=False)


def run_and_tell(
    store: Place,
    run: Callable[[], RunRecord],
    meanwhile: Callable[[], None] = lambda: None,
    profile: bool = False,
) -> None:
    """Run a flow with the display on, then print what came of it; the report's path comes last."""
    from flows.commands.display import RunConsole, showing
    from flows.commands.tables import print_run
    from flows.serving.prefect_setup import prefect_for
    from perpo_core.store.open import open_store
    from perpo_core.store.place import require_writable

    require_writable(store)
    console = build_console(RunConsole)
    with showing(console), prefect_for(store, OPTIONS.debug, meanwhile):
        record = run()
    opened = open_store(store)
    print_run(console, opened, record)
    if profile:
        print_profiles(opened, record)
    print_report_path(opened, record)


if __name__ == "__main__":
    app()
