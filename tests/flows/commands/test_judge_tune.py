"""`perpo judge tune` as it is typed: tables, the file and its report, what is never replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.commands.cli import app
from perpo_core.configuration.words import write_toml_value
from schemas.judge_tuning import JudgeTuningReport
from tests.perpo_core.judge_tuning.biased import FAIR, FIRST, answer, build_store
from tests.perpo_core.sentences import check_sentence
from tests.perpo_core.stages.outside.loopback import serve

FEW = ["--candidates", "4", "--rounds", "2", "--documents", "2", "--check-documents", "3",
       "--pairs", "2"]  # fmt: skip


def write_config(folder: Path, url: str) -> Path:
    """A store with answers, and a configuration of its judge; the instruction lies beside it."""
    build_store(folder, url)
    options = {"base_url": url, "model": "m", "instruction": "judge.txt", "mode": "order"}
    reward = {"reward": {"judge": 1.0, "count_accuracy": 0.5}, "options": {"judge": options}}
    path = folder / "judged.toml"
    path.write_text(
        f'store = "{folder / "store"}"\n[score]\ncounting = {write_toml_value(reward)}\n'
    )
    return path


def invoke(config: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["judge", "tune", str(config), *FEW, *map(str, arguments)])


def test_it_writes_the_instruction_and_reports_fairness_by_round(tmp_path: Path) -> None:
    with serve(answer) as server:
        config, to = write_config(tmp_path, server.url), tmp_path / "fair.txt"
        done = invoke(config, "--to", to)
        assert done.exit_code == 0, done.output
        num_calls = len(server.bodies)
        refused = invoke(config, "--to", to)
        again = invoke(config, "--to", to, "--overwrite")
        assert len(server.bodies) == num_calls, "a repetition asks nothing"
    lines = done.stdout.splitlines()
    assert lines[-1] == f"{to}.json"
    report = JudgeTuningReport.model_validate_json(Path(lines[-1]).read_text())
    assert to.read_text() == report.instruction and f"Style {FAIR}" in report.instruction
    assert report.rounds[0].tried[0].instruction == FIRST
    assert server.url not in Path(lines[-1]).read_text()
    for said in (
        "Fairness by round, 2 documents of counting", "On 3 other documents", "-0.5000",
        "agrees with count_accuracy", "lost {question}", "+0.5000",
        f'score.counting.options.judge.instruction = "{to}"',
    ):  # fmt: skip
        assert said in done.stdout, done.stdout
    assert refused.exit_code == 2 and "is already there" in refused.stderr
    shown = again.stdout[again.stdout.index("Fairness by round") :]
    assert shown == done.stdout[done.stdout.index("Fairness by round") :]
    assert (tmp_path / "judge.txt").read_text() == FIRST


def test_the_tuned_instruction_is_one_that_scoring_knows(tmp_path: Path) -> None:
    """Tuning from it again costs no comparison of what was compared: the file is what was asked."""
    with serve(answer) as server:
        config = write_config(tmp_path, server.url)
        assert invoke(config, "--to", tmp_path / "fair.txt").exit_code == 0
        server.bodies.clear()
        key = "score.counting.options.judge.instruction"
        done = invoke(config, "--to", tmp_path / "b.txt", "--set", f"{key}={tmp_path}/fair.txt",
                      "--candidates", 1, "--rounds", 1)  # fmt: skip
        assert done.exit_code == 0 and not server.bodies, done.output
    assert "none of 0 paraphrases was fairer" in done.stdout


def test_the_one_in_use_is_replaced_only_when_told_to(tmp_path: Path) -> None:
    with serve(answer) as server:
        config, in_use = write_config(tmp_path, server.url), tmp_path / "judge.txt"
        refused = invoke(config, "--to", in_use)
        assert refused.exit_code == 2 and not server.bodies
        check_sentence(refused.stderr.strip(), "the instruction in use", "--overwrite")
        assert invoke(config, "--to", in_use, "--overwrite").exit_code == 0
    assert in_use.read_text() != FIRST
    report = json.loads((tmp_path / "judge.txt.json").read_text())
    assert report["rounds"][0]["tried"][0]["instruction"] == FIRST, "it is not lost"


def test_what_is_fair_on_its_own_documents_only_is_said(tmp_path: Path) -> None:
    """One pair of one document: what is fair there may be fair by luck."""
    from flows.commands.judge_tables import describe

    with serve(answer) as server:
        config, to = write_config(tmp_path, server.url), tmp_path / "fair.txt"
        assert invoke(config, "--to", to).exit_code == 0
    report = JudgeTuningReport.model_validate_json((tmp_path / "fair.txt.json").read_text())
    lucky = report.model_copy(update={"after": report.before})
    assert "keep the instruction you have" in next(describe(lucky, to))
    assert "keep the instruction" not in "".join(describe(report, to))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "ocr"], ["score.ocr has no judge"]),
        (["--writer", "temperature"], ["--writer temperature: write it as KEY=VALUE"]),
        (["--writer", "temperature=9"], ["--writer.temperature = 9 is not allowed"]),
        (["--keep", "IoU"], ["--keep 'IoU'"]),
        (["--set", "score.counting.options.judge.mode=score"], ["mode", "one answer at a time"]),
        (["--set", "score.counting=count_accuracy"], ["no task of [score] has a judge"]),
        (["--set", "store=nowhere"], ["nowhere has no answers to compare", "perpo refresh"]),
        (["--set", "score.counting.options.judge.base_url=http://127.0.0.1:9/v1"],
         ["no server is at http://127.0.0.1:9"]),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_and_writes_nothing(
    arguments: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with serve(answer) as server:
        config = write_config(tmp_path, server.url)
        done = invoke(config, "--to", tmp_path / "fair.txt", *arguments)
    assert done.exit_code == 2 and not server.bodies, done.output
    check_sentence(done.stderr.strip(), *words)
    assert not list(tmp_path.glob("fair*")) and not (tmp_path / "nowhere").exists()


def test_bounds_are_kept(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["judge", "tune", "--to", "x", "--rounds", "0"])
    assert done.exit_code == 2 and "rounds" in done.stderr
