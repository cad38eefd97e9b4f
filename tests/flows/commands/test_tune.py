"""`perpo tune` in a terminal: questions, answers here or on the page, what is told in the end."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from flows.commands.asking import TerminalLines, asking
from flows.commands.cli import app
from flows.commands.tune import print_study
from flows.commands.tune_tables import build_question_table, build_trials_table
from perpo_core.configuration.load import load_config
from perpo_core.tuning.questions import Question
from perpo_core.tuning.standing import compute_standing
from perpo_core.tuning.study import Study
from tests.perpo_core.tuning.studies import begin_next, build_study

VALUES = [(0.5, 0.4), (0.7, 0.6), (0.2, 0.1)]


@contextmanager
def typing(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A stdin of a terminal's lines; what is written to the number is typed."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin, os.fdopen(writing, "wb", buffering=0):
        monkeypatch.setattr("sys.stdin", stdin)
        yield writing


def ask_next(study: Study, ask: object) -> Question:
    standing = compute_standing(study)
    question = standing.find_question()
    assert question is not None and callable(ask)
    ask(study, standing, question)
    return question


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return build_study(tmp_path, VALUES, user="person", rounds=1, comparisons=3)


def test_a_question_is_answered_in_the_terminal(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(file=io.StringIO(), width=160)
    with typing(monkeypatch) as keyboard, asking(console, 0, browser=False) as ask:
        os.write(keyboard, b"what?\na\n=\n")
        questions = [ask_next(study, ask), ask_next(study, ask)]
    kept = study.load_comparisons("person")
    assert [each.choice for each in kept] == ["first", "same"]
    assert [tuple(each.first) for each in kept] == [each.first for each in questions]
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "Which would you rather have?" in said and "http://127.0.0.1:" in said
    assert "grounding accuracy at IoU 0.5" in said and "0.7000" in said


def test_or_on_the_page_while_the_terminal_waits(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.StringIO()
    console = Console(file=out, width=200)

    def answer() -> None:
        while (found := re.search(r"http://127\.0\.0\.1:\S+", out.getvalue())) is None:
            pass
        page = httpx.get(found[0], trust_env=False).text
        form = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        httpx.post(f"{found[0]}/answer", data=form | {"choice": "second"}, trust_env=False)

    thread = threading.Thread(target=answer)
    with typing(monkeypatch), asking(console, 0, browser=False) as ask:
        thread.start()
        ask_next(study, ask)
        thread.join(30)
    assert [each.choice for each in study.load_comparisons("person")] == ["second"]
    assert "kept: second, on the page" in out.getvalue()


def test_a_stdin_that_ended_or_is_none_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        lines = TerminalLines()
        assert [lines.read(0.01) for _ in range(3)] == [None] * 3
    monkeypatch.setattr("sys.stdin", io.StringIO("a\n"))
    assert TerminalLines().read(0.01) is None


def test_what_is_told_in_the_end_is_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = build_study(tmp_path, VALUES, user="hypervolume", startup=3)
    begin_next(study)
    study.fail(study.list_trials()[3], "it broke")
    standing = compute_standing(study)
    out = io.StringIO()
    with pytest.raises(ValueError, match="there is no run"):  # of the planted trials
        print_study(Console(file=out, width=200), study)
    said, chosen = out.getvalue(), standing.chosen
    assert chosen is not None and "it broke" in said
    assert f"chosen: trial {chosen.number}, run {chosen.run_id}" in said
    assert "hypervolume of it alone: " in said and "of the weight" in said
    assert "it was chosen on validation prompts" in said
    toml = said[said.index("[train]") : said.index("--set")]
    (tmp_path / "chosen.toml").write_text(toml)
    train = load_config(tmp_path / "chosen.toml").train
    assert {"train.beta": train.beta, "train.gamma": train.gamma} == chosen.settings
    overrides = re.findall(r"--set (\S+)", said)
    assert load_config(None, overrides).train == train
    del capsys


def test_tables_show_both_sides_and_every_trial(study: Study) -> None:
    standing, out = compute_standing(study), io.StringIO()
    console = Console(file=out, width=200)
    console.print(build_question_table(standing, Question(0, (0, 2), (1,))))
    console.print(build_trials_table(study, standing))
    for text in ("0.2000", "0.7000", "lower is better", "chosen", "front", study.name):
        assert text in out.getvalue()


def test_errors_are_one_sentence_before_anything_is_begun(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'store = "{tmp_path / "store"}"\n[tune]\nstartup = 99\n')
    result = CliRunner().invoke(app, ["tune", str(path)])
    assert result.exit_code == 2
    assert "startup (99) must not exceed trials (16)" in result.stderr
    assert not (tmp_path / "store").exists()
