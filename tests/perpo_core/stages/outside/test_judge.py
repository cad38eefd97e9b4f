"""A judge behind a server: what it is asked, how often, how patiently, and what stays secret."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from perpo_core.perception.judging import describe_judging
from perpo_core.stages import score
from perpo_core.stages.outside.order import choose_pairs
from perpo_core.stages.stage import StageContext, find_or_make
from schemas.artifact import CandidateSet, SampleSet
from schemas.config import RefreshConfig
from tests.perpo_core.small_store import (
    build_candidate_rows,
    build_context,
    build_sample_row,
    commit_candidates,
    commit_samples,
)
from tests.perpo_core.stages.outside.loopback import Answered, Loopback, read_question, serve

KEY = "sk-very-secret-0123456789"
TEXTS = ["4", "5", "about four"]


def build_settings(folder: Path, url: str, **options: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    instruction = folder / "judge.txt"
    if not instruction.exists():
        instruction.write_text("Judge how right the answer is.\n")
    options = {
        "base_url": url, "model": "m", "instruction": str(instruction), "backoff_s": 0.01,
        **options,
    }  # fmt: skip
    return {"counting": {"reward": {"judge": 1.0}, "options": {"judge": options}}}


def build_parents(context: StageContext, texts: list[str]) -> tuple[SampleSet, CandidateSet]:
    row = build_sample_row(3, "counting", 4)
    samples = commit_samples(context.store, [row])
    shards = [build_candidate_rows(row["prompt_id"], texts)]
    return samples, commit_candidates(context.store, samples, shards)


def run_scoring(
    folder: Path, server: Loopback, texts: list[str] = TEXTS, force: bool = False, **options: Any
) -> tuple[list[dict[str, Any]], Any]:
    settings = build_settings(folder, server.url, **options)
    context = build_context(folder, score=settings)
    logged: list[str] = []
    context = StageContext(
        context.store, context.config, context.policy, force=force, log=logged.append
    )
    parents = build_parents(context, texts)
    scores = find_or_make(context, score, *parents).artifact
    (folder / "log.txt").write_text("\n".join(logged))
    return pq.read_table(context.store.paths(scores)).to_pylist(), scores


def grade(number: int, body: dict[str, Any]) -> Answered:
    """10 for the truth, else 2.5."""
    del number
    answer = read_question(body).partition("Answer to judge:\n")[2].split("\n")[0]
    return Answered(f"Well.\n**Score:** {10 if answer == '4' else 2.5}")


def test_it_is_shown_image_question_truth_and_answer(tmp_path: Path) -> None:
    with serve(grade) as server:
        rows, _ = run_scoring(tmp_path, server)
    assert [row["reward"] for row in rows] == [1.0, 0.25, 0.25]
    assert rows[1]["parsed"] == "2.5"
    body = next(body for body in server.bodies if "\n5\n" in read_question(body))
    assert body["model"] == "m" and body["temperature"] == 0
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Judge how right the answer is.\n"}
    head, _, data = user["content"][0]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64" and base64.b64decode(data).startswith(b"\x89PNG")
    for part in ("Question counting", "Correct answer:\n4\n", "Answer to judge:\n5\n"):
        assert part in read_question(body)


def test_a_repetition_asks_nothing(tmp_path: Path) -> None:
    with serve(grade) as server:
        first, _ = run_scoring(tmp_path, server)
        again, _ = run_scoring(tmp_path, server, force=True)
        assert len(server.bodies) == 3
        (tmp_path / "judge.txt").write_text("Judge kindly.")
        run_scoring(tmp_path, server, force=True)
    assert first == again and len(server.bodies) == 6


def test_equal_answers_are_asked_about_once(tmp_path: Path) -> None:
    with serve(grade) as server:
        rows, _ = run_scoring(tmp_path, server, ["4", "4", "5"])
    assert len(server.bodies) == 2 and rows[0]["reward"] == rows[1]["reward"] == 1.0


def prefer_four(number: int, body: dict[str, Any]) -> Answered:
    """The truth wins; of others the one shown first does."""
    del number
    first = re.search(r"Answer A:\n(.*)\n\nAnswer B:\n(.*)\n", read_question(body))
    assert first is not None
    return Answered("Better: B" if first[2] == "4" else "Better: A")


def test_order_asks_both_ways_round(tmp_path: Path) -> None:
    with serve(prefer_four) as server:
        rows, _ = run_scoring(tmp_path, server, mode="order")
    assert len(server.bodies) == 6
    # 4 wins 4 of 4; the others lose 2 and share the 2 in which place alone decided.
    assert [row["reward"] for row in rows] == [1.0, 0.25, 0.25]


def test_order_is_bounded_and_even() -> None:
    texts = [str(number) for number in range(20)]
    pairs = choose_pairs(texts, 4)
    assert {sum(text in pair for pair in pairs) for text in texts} == {4}
    assert pairs == choose_pairs(texts[::-1], 4)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(tmp_path: Path, status: int) -> None:
    with serve(lambda n, body: Answered(status=status) if n < 2 else Answered()) as server:
        rows, _ = run_scoring(tmp_path, server, ["4"])
    assert len(server.bodies) == 3 and rows[0]["reward"] == 0.5


def test_a_slow_reply_is_tried_again(tmp_path: Path) -> None:
    with serve(lambda n, body: Answered(wait_s=3 if n == 0 else 0)) as server:
        rows, _ = run_scoring(tmp_path, server, ["4"], timeout_s=1)
    assert len(server.bodies) == 2 and rows[0]["reward"] == 0.5


def test_retry_after_goes_before_the_backoff(tmp_path: Path) -> None:
    busy = Answered(status=429, headers={"Retry-After": "1.5"})
    with serve(lambda n, body: busy if n == 0 else Answered()) as server:
        run_scoring(tmp_path, server, ["4"])
    assert server.times_s[1] - server.times_s[0] >= 1.5


def test_after_the_last_try_the_row_has_the_reason_and_is_asked_again(tmp_path: Path) -> None:
    failing = True

    def answer(number: int, body: dict[str, Any]) -> Answered:
        return Answered(status=503) if failing else Answered()

    with serve(answer) as server:
        rows, scores = run_scoring(tmp_path, server, ["4"], retries=2)
        assert len(server.bodies) == 3
        said = f"not judged: {server.url}/chat/completions: status 503, 3 calls in all; score again"
        assert rows[0]["reward"] is None and rows[0]["error"] == said
        assert scores.counts.dropped == {"not judged": 1}
        failing = False
        rows, _ = run_scoring(tmp_path, server, ["4"], force=True)
    assert rows[0]["reward"] == 0.5


def test_400_is_the_rows_error_and_not_tried_again(tmp_path: Path) -> None:
    with serve(lambda n, body: Answered(status=400, body=b"too\nlong")) as server:
        rows, _ = run_scoring(tmp_path, server, ["4"])
    assert len(server.bodies) == 1 and rows[0]["error"].endswith("status 400, 'too long'")


def test_concurrency_is_bounded(tmp_path: Path) -> None:
    with serve(lambda n, body: Answered(wait_s=0.05)) as server:
        run_scoring(tmp_path, server, [str(n) for n in range(12)], max_concurrency=3)
    assert len(server.bodies) == 12 and 2 <= server.most_at_once <= 3


def test_the_budget_of_calls_is_kept(tmp_path: Path) -> None:
    with serve(lambda n, body: Answered()) as server:
        rows, scores = run_scoring(
            tmp_path, server, [str(n) for n in range(5)], max_calls=3, max_concurrency=1
        )
    assert len(server.bodies) == 3 and scores.counts.dropped == {"not judged": 2}
    said = "not judged: all 3 calls of max_calls are used up; raise it and score again"
    assert [row["error"] for row in rows].count(said) == 2


def test_the_key_goes_to_the_server_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    monkeypatch.setenv("JUDGE_KEY", KEY)
    with serve(lambda n, body: Answered(status=400, body=f"bad key {KEY}".encode())) as server:
        rows, _ = run_scoring(tmp_path, server, ["4"], api_key_env="JUDGE_KEY")
    assert {name.lower(): value for name, value in server.headers[0].items()}[
        "authorization"
    ] == f"Bearer {KEY}"
    assert "bad key ***" in rows[0]["error"]
    with (
        serve(lambda n, body: Answered(status=401, body=KEY.encode())) as server,
        pytest.raises(ValueError, match="status 401") as refused,
    ):
        run_scoring(tmp_path / "refused", server, ["5"], api_key_env="JUDGE_KEY")
    said = [str(refused.value), caplog.text, *_read_all(tmp_path)]
    assert not [text for text in said if KEY in text]


def _read_all(folder: Path) -> list[str]:
    return [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("I like it.", "the judge's reply 'I like it.' has no \"Score: N\""),
        ("Score: 11", "the judge gave 11, which is not 0 to 10"),
        (" ", "the judge's reply is empty"),
    ],
)
def test_a_reply_that_says_nothing_costs_the_row(tmp_path: Path, reply: str, reason: str) -> None:
    with serve(lambda n, body: Answered(reply)) as server:
        rows, _ = run_scoring(tmp_path, server, ["4"])
    assert rows[0]["reward"] is None and rows[0]["error"] == f"not judged: {reason}"


def test_nobody_there_ends_the_stage_in_one_sentence(tmp_path: Path) -> None:
    with serve(lambda n, body: Answered()) as server:
        pass
    with pytest.raises(ValueError, match=r"no server is at http://127.0.0.1:\d+/v1/chat/comp"):
        run_scoring(tmp_path, server)


def test_an_unset_key_is_named(tmp_path: Path) -> None:
    with (
        serve(lambda n, body: Answered()) as server,
        pytest.raises(ValueError, match="is to be in NO_SUCH_KEY, which is not set"),
    ):
        run_scoring(tmp_path, server, api_key_env="NO_SUCH_KEY")
    assert not server.bodies


def test_no_chat_completion_is_said(tmp_path: Path) -> None:
    with serve(lambda n, body: Answered(body=b"<html>")) as server:
        rows, _ = run_scoring(tmp_path, server, ["4"])
    assert rows[0]["error"].endswith("sent no chat completion: '<html>'")


def test_the_key_of_scores_has_what_replies_depend_on(tmp_path: Path) -> None:
    def describe(**options: Any) -> str:
        settings = build_settings(tmp_path, "http://127.0.0.1:1/v1", **options)
        return str(describe_judging(RefreshConfig.model_validate({"score": settings}), 3))

    first = describe()
    assert str(tmp_path) not in first
    assert describe(max_calls=3, timeout_s=2, api_key_env="X", max_concurrency=1) == first
    assert len({first, describe(model="n"), describe(mode="order"), describe(highest=5)}) == 4
    (tmp_path / "judge.txt").write_text("Judge otherwise.")
    assert describe() != first
