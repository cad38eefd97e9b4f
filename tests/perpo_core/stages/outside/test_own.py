"""One's own reward: called as TRL calls it, in a child of its own, each row at its own risk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.configuration.load import load_config
from perpo_core.perception.judging import describe_judging
from perpo_core.stages import score
from perpo_core.stages.stage import StageContext, find_or_make
from schemas.artifact import CandidateSet, SampleSet
from tests.perpo_core.processes import find_children
from tests.perpo_core.small_store import (
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
)

CHILD = "perpo_core.stages.outside.own_child"
TRL_STYLE = """
def rate(prompts, completions, target, **kwargs):
    "As in TRL's documentation: conversational, columns as lists."
    assert prompts[0][0]["role"] == "user" and kwargs["task"][0] == "counting"
    said = [c[0]["content"] for c in completions]
    return [1.0 if text == str(t["count"]) else 0.25 for text, t in zip(said, target)]
"""


def write_config(folder: Path, code: str, options: str = "") -> Path:
    (folder / "mine.py").write_text(code)
    path = folder / "run.toml"
    path.write_text(
        '[score.counting]\nreward = { "mine:rate" = 1.0, exact_match = 0.5 }\n'
        f'[score.counting.options."mine:rate"]\n{options}\n'
    )
    return path


def build_parents(context: StageContext, texts: list[str]) -> tuple[SampleSet, CandidateSet]:
    row = build_sample_row(3, "counting", 4)
    samples = commit_samples(context.store, [row])
    shards = [build_candidate_rows(row["prompt_id"], texts)]
    return samples, commit_candidates(context.store, samples, shards)


def run_scoring(
    folder: Path, code: str, texts: list[str], options: str = ""
) -> tuple[list[dict[str, Any]], Any]:
    config = load_config(write_config(folder, code, options))
    context = build_context(folder, score=config.score)
    scores = find_or_make(context, score, *build_parents(context, texts)).artifact
    rows = pq.read_table(context.store.paths(scores)).to_pylist()
    return rows, scores


def list_own(rows: list[dict[str, Any]]) -> list[float | None]:
    return [dict(row["rewards"]).get("mine:rate") for row in rows]


def test_it_is_called_as_trl_calls_it(tmp_path: Path) -> None:
    rows, _ = run_scoring(tmp_path, TRL_STYLE, ["4", "5"])
    assert list_own(rows) == [1.0, 0.25]
    assert [row["reward"] for row in rows] == [1.5, 0.25]


def test_async_images_and_none(tmp_path: Path) -> None:
    code = """
import asyncio
async def rate(completions, images):
    await asyncio.sleep(0)
    assert images[0][0].size == (20, 10)
    return [None if c[0]["content"] == "5" else images[0][0].getpixel((0, 0))[0] / 10
            for c in completions]
"""
    rows, scores = run_scoring(tmp_path, code, ["4", "5"])
    assert list_own(rows)[0] == pytest.approx(0.3)
    assert rows[1]["reward"] == 0.0 and "mine:rate: returned None" in rows[1]["error"]
    assert not scores.counts.dropped


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck"),
        ("return float('nan')", "returned nan; return a finite number or None"),
        ("return 'x'", "returned 'x', which is no number; return a number or None"),
        ("return 3", "returned 3, which is not in its range 0 to 1; set its low and high"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; os._exit(7)", "its process failed with exit status 7"),
    ],
)
def test_what_goes_wrong_costs_its_row_alone(tmp_path: Path, bad: str, reason: str) -> None:
    code = f"""
def one(text):
    if text == "5":
        {bad}
    return 0.5
def rate(completions, **kwargs):
    return [one(c[0]["content"]) for c in completions]
"""
    rows, scores = run_scoring(tmp_path, code, ["4", "5", "6"])
    assert [row["reward"] for row in rows] == [1.0, None, 0.5]
    assert rows[1]["error"] == f"not judged: mine:rate: {reason}"
    assert scores.counts.dropped == {"not judged": 1} and scores.counts.num_kept == 2


def test_a_wrong_number_of_values_is_the_calls_error(tmp_path: Path) -> None:
    code = "def rate(completions, **kwargs):\n    return [0.5] * 2\n"
    rows, _ = run_scoring(tmp_path, code, ["4", "5", "6"])
    said = "not judged: mine:rate: returned 2 values for 1 answers; return one for each"
    assert {row["error"] for row in rows} == {said}


def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    code = """
import time
def rate(completions, **kwargs):
    if any(c[0]["content"] == "5" for c in completions):
        time.sleep(60)
    return [0.5 for _ in completions]
"""
    started_s = time.monotonic()
    rows, _ = run_scoring(tmp_path, code, ["4", "5", "6"], "timeout_s = 0.5")
    assert time.monotonic() - started_s < 50
    assert [row["reward"] for row in rows] == [1.0, None, 0.5]
    assert rows[1]["error"] == "not judged: mine:rate: took over 0.5 s"
    assert not find_children(CHILD)


def test_rows_that_were_not_judged_are_asked_again(tmp_path: Path) -> None:
    flag = tmp_path / "fail"
    flag.touch()
    code = f"""
import os
def rate(completions, **kwargs):
    with open({str(tmp_path / "calls")!r}, "a") as calls:
        calls.write("".join(c[0]["content"] for c in completions))
    if os.path.exists({str(flag)!r}) and "5" in [c[0]["content"] for c in completions]:
        raise OSError("not now")
    return [0.5 for _ in completions]
"""
    config = load_config(write_config(tmp_path, code))
    context = build_context(tmp_path, score=config.score)
    samples, candidates = build_parents(context, ["4", "5"])
    find_or_make(context, score, samples, candidates)
    flag.unlink()
    (tmp_path / "calls").unlink()
    more = commit_samples(
        context.store,
        [build_sample_row(3, "counting", 4), build_sample_row(9, "counting", 1, "test")],
        "more",
    )
    again = find_or_make(context, score, more, candidates).artifact
    assert (tmp_path / "calls").read_text() == "5"
    assert again.counts.num_reused == 1 and not again.counts.dropped


def test_the_key_follows_the_source_and_what_it_imports(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("X = 1\n")
    path = write_config(tmp_path, "import helper\nimport json\ndef rate(completions): ...\n")

    def describe(*changes: str) -> Any:
        return describe_judging(load_config(path, changes), 3)

    first = describe()
    assert describe() == first
    assert describe('score.counting.options={"mine:rate" = {timeout_s = 3}}') == first
    (tmp_path / "helper.py").write_text("X = 2\n")
    second = describe()
    (tmp_path / "mine.py").write_text("import helper\ndef rate(completions): return 1\n")
    assert len({str(found) for found in (first, second, describe())}) == 3
    assert str(tmp_path) not in str(first)
    (tmp_path / "elsewhere").mkdir()
    for name in ("mine.py", "helper.py", "run.toml"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    assert describe_judging(load_config(tmp_path / "elsewhere" / "run.toml"), 3)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_like_it\ndef rate(): ...", "ModuleNotFoundError: No module named 'nothi"),
        ("def rate(completion_ids): ...", "rate wants completion_ids, which is not there; it is"),
        ("rate = 3", "has no function rate"),
    ],
)
def test_a_module_that_cannot_be_used_ends_the_stage(tmp_path: Path, code: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"mine:rate: .*" + said):
        run_scoring(tmp_path, code, ["4"])


def test_two_equal_names_do_not_meet_an_installed_module(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("def rate(completions): return [0.5] * len(completions)\n")
    path = tmp_path / "run.toml"
    path.write_text('[score]\ncounting = "json:rate"\n')
    context = build_context(tmp_path, score=load_config(path).score)
    scores = find_or_make(context, score, *build_parents(context, ["4"])).artifact
    [row] = pq.read_table(context.store.paths(scores)).to_pylist()
    assert row["reward"] == 0.5
