"""The command line: light to start, plain in its errors, the report's path last."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.commands.cli import app
from perpo_core.store.locks import lock_name
from perpo_core.store.store import Store
from schemas.config import RefreshConfig

HEAVY = ("torch", "vllm", "prefect", "transformers", "datasets", "pyarrow")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def as_options(config: RefreshConfig) -> list[str]:
    return ["--set", f"store={config.store}", "--set", f"policy.model={config.policy.model}",
            "--set", "name=toy"]  # fmt: skip


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from flows.commands.cli import app; "
        "result = CliRunner().invoke(app, ['--help']); assert result.exit_code == 0; "
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_config_prints_every_setting() -> None:
    result = invoke("config")
    assert result.exit_code == 0
    assert "train.beta = 0.1" in result.stdout
    assert "Strength of the pull towards the reference" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["refresh", "nowhere.toml"], "nowhere.toml: there is no such configuration file"),
        (["plan", "--set", "train.betta=1"], "did you mean train.beta?"),
        (["show", "latest"], "there is no run in"),
        (["rerun", "a-run", "--from", "score"], "there is no run 'a-run'"),
        (["report", "../../etc/passwd"], "is not a run id"),
    ],
)
def test_errors_are_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if arguments[0] == "rerun":
        request.getfixturevalue("prefect_server")
    if arguments[0] in ("show", "rerun", "report"):
        arguments = [*arguments, "--store", str(tmp_path)]
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output


def test_an_unknown_stage_is_refused() -> None:
    result = invoke("rerun", "latest", "--from", "scoring")
    assert result.exit_code == 2
    assert "scoring" in result.stderr


@pytest.mark.usefixtures("prefect_server")
def test_plan_refresh_show_and_runs_tell_the_same_story(toy_config: RefreshConfig) -> None:
    options = as_options(toy_config)
    before = invoke("plan", *options)
    assert before.exit_code == 0, before.output
    assert "0 of 7 stages would be reused" in before.stdout
    assert "its key is known only after collect" in before.stdout

    done = invoke("refresh", *options)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[-1] == str(next((Path(toy_config.store) / "reports").glob("*/report.html")))
    assert "generate: done in" in done.stdout
    assert "accuracy at IoU 0.5" in done.stdout

    after = invoke("plan", *options, "--set", "train.beta=0.2")
    assert "4 of 7 stages would be reused" in after.stdout
    assert "train on 11 lists" in after.stdout
    assert "how many of them new is not known before collect" in before.stdout

    again = invoke("refresh", *options, "--profile").stdout
    assert "no profile was taken: no stage that takes one was made" in again
    forced = invoke("refresh", *options, "--profile", "--force-from", "generate").stdout
    [told] = [line for line in forced.splitlines() if "https://ui.perfetto.dev" in line]
    assert any(Path(told.rpartition(": ")[2]).glob("generate/*.pt.trace.json"))

    store = ["--store", str(toy_config.store)]
    assert "completed" in invoke("runs", *store).stdout
    shown = invoke("show", *store)
    assert '"beta": 0.1' in shown.stdout
    assert shown.stdout.splitlines()[-1] == forced.splitlines()[-1]


@pytest.mark.usefixtures("prefect_server")
def test_a_failing_stage_is_one_sentence_and_exit_code_2(toy_config: RefreshConfig) -> None:
    (Path(toy_config.store).parent / "break-score").write_text("input")
    result = invoke("refresh", *as_options(toy_config))
    assert result.exit_code == 2
    assert result.stderr.startswith("toy score was told to fail; remove ")
    assert "score: failed" in result.stdout
    assert "Traceback" not in result.output


def test_a_run_that_nobody_runs_is_shown_as_killed(toy_config: RefreshConfig) -> None:
    from datetime import UTC, datetime

    from flows.commands.tables import describe_status
    from flows.runs.records import write_record
    from schemas.run import RunRecord

    store = Store(toy_config.store)
    record = RunRecord(
        run_id="toy-1", status="running", config=toy_config, policy_digest="a" * 64,
        policy_folder=Path(toy_config.policy.model), started_at=datetime.now(UTC),
    )  # fmt: skip
    write_record(store, record)
    assert describe_status(store, record) == "killed"
    with lock_name(store, "toy"):
        assert describe_status(store, record) == "running"
