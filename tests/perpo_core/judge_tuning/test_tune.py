"""A tuning against a server whose bias hangs on the instruction: what it finds, asks and keeps."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perpo_core.judge_tuning import build_writer, find_judge, tune_judge
from perpo_core.stages import score
from perpo_core.stages.stage import StageContext, find_or_make
from schemas.judge_tuning import JudgeTuning, JudgeTuningReport
from tests.perpo_core.judge_tuning.biased import (
    BIAS,
    FAIR,
    FIRST,
    answer,
    build_store,
    is_for_writer,
)
from tests.perpo_core.sentences import check_sentence
from tests.perpo_core.small_store import (
    build_candidate_rows,
    build_sample_row,
    commit_candidates,
    commit_samples,
)
from tests.perpo_core.stages.outside.loopback import Answered, Loopback, serve

SETTINGS = JudgeTuning(candidates=4, rounds=3, documents=3, check_documents=4, pairs=2)


def tune(
    context: StageContext, settings: JudgeTuning = SETTINGS, **writer: Any
) -> JudgeTuningReport:
    task, judge = find_judge(context.config.score)
    return tune_judge(context, task, judge, build_writer(judge, writer), settings)


def read_style(instruction: str) -> int:
    found = re.search(r"Style (\d)", instruction)
    assert found is not None
    return int(found[1])


def list_bodies(server: Loopback) -> list[str]:
    return [json.dumps(body, sort_keys=True) for body in server.bodies]


@dataclass(frozen=True)
class Done:
    """A tuning that is over, for the tests that only look."""

    report: JudgeTuningReport
    logged: list[str]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    with serve(answer) as server:
        context, logged = build_store(tmp_path_factory.mktemp("done"), server.url)
        return Done(tune(context, SETTINGS.model_copy(update={"candidates": 6})), logged)


def test_the_fair_instruction_is_found(done: Done) -> None:
    report = done.report
    first = report.rounds[0].tried[0]
    assert first.instruction == FIRST and first.fairness == -0.5 and first.first_share == 1.0
    assert first.consistency == 0.0 and first.num_decided == 3 * 2 * 2
    assert read_style(report.instruction) == FAIR and report.is_changed
    assert report.rounds[-1].best.fairness == 0.0 and report.rounds[-1].best.consistency == 1.0
    bests = [each.best.fairness or 0.0 for each in report.rounds]
    assert bests == sorted(bests), "the fairest so far never becomes less fair"
    assert "3 documents with 6 pairs of answers choose, 4 with 8 pairs check" in done.logged[0]
    rounds = [line for line in done.logged if re.match(r"round \d of 3: \d instructions", line)]
    assert len(rounds) == 3 and "fairness 0.0000 so far" in rounds[-1]


def test_before_and_after_are_measured_on_other_documents(done: Done) -> None:
    report = done.report
    assert len(report.sample_ids) == 3 and len(report.check_sample_ids) == 4
    assert not set(report.sample_ids) & set(report.check_sample_ids)
    assert report.before.fairness == -0.5 and report.after.fairness == 0.0
    assert report.before.num_decided == 4 * 2 * 2
    # Where the place alone decides, both ways round together prefer nobody: a half.
    assert report.known_reward == "count_accuracy" and report.agreement is not None
    assert (report.agreement.base, report.agreement.trained) == (0.5, 1.0)
    assert report.agreement.n + report.num_equal + report.num_unread == 4 * 2
    assert report.num_unread == 0 and report.agreement.delta_low > 0


def test_what_lost_a_placeholder_or_has_no_tags_is_dropped_and_counted(done: Done) -> None:
    report = done.report
    assert report.kept_words == ["{question}"]
    tried = [each.instruction for found in report.rounds for each in found.tried]
    assert all("{question}" in each for each in tried) and len(set(tried)) == len(tried)
    dropped = [found.dropped for found in report.rounds]
    assert {name for each in dropped for name in each} == {
        "lost {question}", "no instruction in the reply"
    }  # fmt: skip
    assert len(tried) - 1 + sum(num for each in dropped for num in each.values()) == 6 * 3 - 1


def test_the_first_place_costs_what_the_bias_says(done: Done) -> None:
    """Where h of the pairs go to whoever is first, P(first) is (1 + h)/2."""
    tried = [each for found in done.report.rounds for each in found.tried]
    for each in tried:
        assert each.consistency is not None and each.first_share is not None
        assert each.first_share == pytest.approx(1 - each.consistency / 2)
        if BIAS[read_style(each.instruction)] == 0:
            assert each.fairness == 0


def test_a_repetition_asks_nothing_and_says_the_same(tmp_path: Path) -> None:
    with serve(answer) as server:
        context, _ = build_store(tmp_path, server.url)
        report = tune(context)
        num_calls = len(server.bodies)
        assert tune(context) == report and len(server.bodies) == num_calls
        assert len(set(list_bodies(server))) == num_calls, "nothing was asked twice"
        tune(context, SETTINGS.model_copy(update={"seed": 1, "rounds": 1}))
        assert len(server.bodies) > num_calls


def test_seed_and_replies_settle_everything(tmp_path: Path) -> None:
    reports = []
    for name, concurrency in (("one", 1), ("other", 8)):
        with serve(answer) as server:
            context, _ = build_store(tmp_path / name, server.url, max_concurrency=concurrency)
            reports.append(tune(context))
            assert server.most_at_once <= concurrency
    assert reports[0] == reports[1]


def test_it_goes_on_where_the_budget_ended_it(tmp_path: Path) -> None:
    with serve(answer) as server:
        context, _ = build_store(tmp_path / "whole", server.url)
        whole = tune(context)
        num_calls = len(server.bodies)
    with serve(answer) as server:
        context, _ = build_store(tmp_path / "parts", server.url, max_calls=40)
        failures = []
        for _ in range(num_calls):
            try:
                report = tune(context)
                break
            except ValueError as error:
                failures.append(str(error))
                assert len(server.bodies) == 40 * len(failures)
        assert len(failures) == num_calls // 40 and report == whole
        assert len(set(list_bodies(server))) == len(server.bodies) == num_calls
    check_sentence(failures[0], "all 40 calls of max_calls are used up; raise it", "kept")
    assert "score again" not in failures[0]


def test_it_goes_on_after_a_server_that_broke(tmp_path: Path) -> None:
    broken = True

    def breaking(number: int, body: dict[str, Any]) -> Answered:
        return Answered(status=503) if broken and number >= 30 else answer(number, body)

    with serve(breaking) as server:
        context, _ = build_store(tmp_path, server.url)
        with pytest.raises(ValueError, match=r"have no reply, the first: .*status 503") as failed:
            tune(context)
        broken = False
        report = tune(context)
    check_sentence(str(failed.value), "give the same command again")
    assert read_style(report.instruction) == FAIR


def test_paraphrases_may_come_from_another_server_without_the_judges_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret")
    with serve(answer) as server, serve(answer) as other:
        context, _ = build_store(tmp_path, server.url, api_key_env="JUDGE_KEY", max_calls=1000)
        report = tune(context, base_url=other.url, model="w", temperature=0.5, extra={"top_k": 3})
        assert not any(map(is_for_writer, server.bodies))
        assert all(map(is_for_writer, other.bodies)) and len(other.bodies) == 4 * 3 - 1
    assert report.writer == "w" and report.model == "m"
    assert {(b["model"], b["temperature"], b["top_k"]) for b in other.bodies} == {("w", 0.5, 3)}
    assert all("Authorization" not in headers for headers in other.headers)
    assert all(headers["Authorization"] == "Bearer sk-secret" for headers in server.headers)


def test_the_judge_is_asked_as_in_scoring_and_the_writer_at_zepos_temperature(
    tmp_path: Path,
) -> None:
    with serve(answer) as server:
        context, _ = build_store(
            tmp_path, server.url, extra={"guided": True}, max_tokens=16, images=False
        )
        tune(context)
    writer = [body for body in server.bodies if is_for_writer(body)]
    judge = [body for body in server.bodies if not is_for_writer(body)]
    assert {body["temperature"] for body in writer} == {0.9}
    assert len({body["seed"] for body in writer}) == len(writer)
    assert not any("guided" in body for body in writer), "what holds the judge to a verdict"
    assert {body["max_tokens"] for body in judge} == {16} and all(b["guided"] for b in judge)
    assert FIRST.strip() in writer[0]["messages"][0]["content"]
    assert "{question}" in writer[0]["messages"][0]["content"].partition("Instruction:")[0]


def test_replies_of_scoring_are_taken(tmp_path: Path) -> None:
    """The first instruction's comparisons cost nothing where the judge rewarded these answers."""
    with serve(answer) as server:
        context, _ = build_store(tmp_path, server.url)
        [candidates] = context.store.list_committed("candidates")
        [samples] = context.store.list_committed("samples")
        find_or_make(context, score, samples, candidates)
        server.bodies.clear()
        tune(context)
        first = [b for b in server.bodies if b["messages"][0]["content"] == FIRST]
    assert not first and server.bodies


def test_a_judge_that_gives_no_verdict_is_said(tmp_path: Path) -> None:
    def mumble(number: int, body: dict[str, Any]) -> Answered:
        return answer(number, body) if is_for_writer(body) else Answered("Hm.")

    with serve(mumble) as server:
        context, _ = build_store(tmp_path, server.url)
        with pytest.raises(ValueError) as refused:
            tune(context)
    check_sentence(str(refused.value), "preferred no answer in 12 comparisons", "'Hm.'")


def test_ties_alone_are_no_fairness(tmp_path: Path) -> None:
    """Style 2 ties everything here: as fair as can be, and of no use."""

    def tie(number: int, body: dict[str, Any]) -> Answered:
        if not is_for_writer(body) and f"Style {FAIR}" in body["messages"][0]["content"]:
            return Answered("Better: tie")
        return answer(number, body)

    with serve(tie) as server:
        context, _ = build_store(tmp_path, server.url)
        report = tune(context)
    assert read_style(report.instruction) not in (FAIR, 0)
    tied = [each for found in report.rounds for each in found.tried if not each.is_of_use]
    assert tied and all(each.fairness is None and each.num_tied == 12 for each in tied)


def test_where_nothing_is_fairer_the_instruction_stays(tmp_path: Path) -> None:
    with serve(answer) as server:
        context, _ = build_store(tmp_path, server.url, first=FIRST.replace("0", str(FAIR)))
        report = tune(context)
    assert not report.is_changed and report.before == report.after
    assert report.agreement is not None and report.agreement.delta == 0


def test_too_few_documents_are_shared_out(tmp_path: Path) -> None:
    with serve(answer) as server:
        context, _ = build_store(tmp_path, server.url, num_samples=5)
        report = tune(context)
    assert (len(report.sample_ids), len(report.check_sample_ids)) == (2, 3)


@pytest.mark.parametrize("num", [0, 1])
def test_where_there_is_nothing_to_compare_it_says_what_to_run(tmp_path: Path, num: int) -> None:
    with serve(answer) as server:
        context, _ = build_store(tmp_path, server.url, num_samples=num)
        with pytest.raises(ValueError) as refused:
            tune(context)
    assert not server.bodies
    check_sentence(str(refused.value), "counting", "run `perpo refresh`")


def test_answers_to_other_splits_are_passed_over(tmp_path: Path) -> None:
    """The newest candidates may be an evaluation's."""
    with serve(answer) as server:
        context, _ = build_store(tmp_path, server.url)
        held_out = [build_sample_row(100 + n, "counting", 4, "test") for n in range(8)]
        samples = commit_samples(context.store, held_out, "later")
        shards = [build_candidate_rows(row["prompt_id"], ["1", "2"]) for row in held_out]
        later = commit_candidates(context.store, samples, shards, "later")
        report = tune(context)
    assert report.candidates_key != later.key
    assert not set(report.sample_ids) & {row["sample_id"] for row in held_out}
