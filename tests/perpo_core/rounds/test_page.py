"""The page and the words: what they say follows from intervals, and nothing is loaded or run."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from flows.commands.rounds_tables import build_rounds_table
from perpo_core.rounds.page import build_page, write_rounds
from perpo_core.rounds.words import compute_verdict, describe_task
from perpo_core.store.store import Store
from schemas.artifact import Metric
from schemas.base import TaskName
from schemas.rounds import Decision, Round, RoundsReport
from tests.perpo_core.report.html_page import Page
from tests.perpo_core.rounds.rounds_fixture import (
    TASK_NAMES,
    build_report,
    build_rounds,
    build_runs,
)


def change_interval(each: Round, low: float, high: float) -> Round:
    """With another interval of the change of grounding from the round before."""
    of = each.tasks["grounding"]
    value: Metric = of.against_before[of.headline]
    changed = value.model_copy(update={"delta_low": low, "delta_high": high})
    before = {**of.against_before, of.headline: changed}
    task = of.model_copy(update={"against_before": before})
    return each.model_copy(update={"tasks": {**each.tasks, "grounding": task}})


def test_everything_of_every_round_is_on_the_page_and_nothing_is_loaded_or_run(
    tmp_path: Path,
) -> None:
    rounds = build_rounds(3, "not promoted")
    report, store = build_report(rounds), Store(tmp_path)
    path = write_rounds(store, report, build_runs(rounds))
    html = path.read_text()
    page = Page(html)
    assert path == tmp_path / "reports" / "rounds-digits.html"
    assert html.count("<svg") == 6 * len(TASK_NAMES) and "<script" not in html
    assert not page.find("link") and not page.find("img")
    links = [each["href"] for each in page.find("a") if not str(each["href"]).startswith("#")]
    assert links == [f"digits-r{n}-20250301-02000{n}/report.html" for n in (1, 2, 3)]
    for text in ("2 of 3 rounds promoted: round 3 was not", "0.680", "+0.060 to +0.100", "52%",
                 "250 (25%)", "low gap 150, no answer 50", "10.50", "8 min 30 s",
                 "answers up to 1 promotion old"):  # fmt: skip
        assert text in page.text, text
    assert "gate failed: &lt;grounding&gt;" in html and "<grounding>" not in html
    ids = [each["id"] for _, each in page.elements if each.get("id")]
    assert len(ids) == len(set(ids))
    again = RoundsReport.model_validate_json(path.with_suffix(".json").read_bytes())
    assert again == report and again.has_ended


@pytest.mark.parametrize(
    ("last", "num_asked", "said"),
    [
        ("promoted", 3, "3 of 3 rounds promoted."),
        ("promoted", 5, "3 of 5 rounds promoted, and round 4 is still to come."),
        ("not promoted", 5, "2 of 5 rounds promoted: round 3 was not, which ends them"),
        ("rejected", 3, "2 of 3 rounds promoted: round 3 was not, which ends them"),
        ("waiting for approval", 3, "the gates of round 3 passed, and it waits for a person"),
    ],
)
def test_how_they_ended(last: Decision, num_asked: int, said: str) -> None:
    assert said in compute_verdict(build_rounds(3, last), num_asked)[0]


def test_a_round_is_better_only_if_its_whole_interval_is_above_zero() -> None:
    first, second, third = build_rounds(3)
    rounds = [
        change_interval(first, 0.001, 0.1),
        change_interval(second, 0.0, 0.1),
        change_interval(third, -0.1, -0.001),
    ]
    said = describe_task("grounding", rounds[-1], rounds)
    assert said.endswith("better in round 1, worse in round 3, no clear change in round 2.")
    assert "is 0.740 after round 3, from 0.600 at the start" in said
    assert "(+0.140, 95% interval +0.120 to +0.160): better." in said
    # (0.74 - 0.6) / (0.8 + 0.6 / 9 - 0.6) = 0.14 / 0.2667 = 52.5%
    assert "52% is closed" in said
    ocr = describe_task("ocr", rounds[-1], rounds)
    assert "lower" not in ocr and ": better." in ocr, "a fall of the edit distance is a gain"


def test_what_was_promoted_last_is_what_is_told() -> None:
    rounds = build_rounds(3, "not promoted")
    assert "is 0.720 after round 2" in compute_verdict(rounds, 3)[1]
    assert "rounds 1, 2 and 3" in compute_verdict(rounds, 3)[1], "the last one was measured too"
    [only] = build_rounds(1, "not promoted")
    assert "is 0.680 after round 1" in compute_verdict([only], 3)[1]


def test_without_headroom_there_is_none_to_close() -> None:
    [only] = build_rounds(1)
    of = only.tasks["grounding"].model_copy(update={"start_headroom": None})
    changed = only.model_copy(update={"tasks": {"grounding": of}})
    assert "best of 4 is too small for a share" in describe_task("grounding", changed, [changed])


def test_no_page_before_the_first_round() -> None:
    empty = build_report(build_rounds(1)).model_copy(update={"rounds": [], "verdict": []})
    with pytest.raises(ValueError, match="have not begun"):
        build_page(empty, [])
    assert compute_verdict([], 3) == []


def print_table(task: TaskName, rounds: list[Round]) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(build_rounds_table(task, build_runs(rounds)))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_has_a_row_a_round() -> None:
    said = print_table("grounding", build_rounds(2, "not promoted"))
    for text in ("start", "0.680", "+0.040 (+0.020 to +0.060)", "not promoted", "9.00 of 16.0",
                 "14:51"):  # fmt: skip
        assert text in said, text


def test_a_task_that_is_measured_alone_has_no_answers_to_show() -> None:
    untrained = {"diversity": None, "num_lists": 0}
    rounds = [
        each.model_copy(
            update={"tasks": {**each.tasks, "ocr": each.tasks["ocr"].model_copy(update=untrained)}}
        )
        for each in build_rounds(2)
    ]
    assert " of " in print_table("grounding", rounds).partition("time")[2]
    assert " of " not in print_table("ocr", rounds).partition("time")[2]
    page = Page(build_page(build_report(rounds), build_runs(rounds)))
    assert page.text.count("measured, not trained") == 1
    assert page.text.count("answers a prompt") == len(TASK_NAMES) - 1
