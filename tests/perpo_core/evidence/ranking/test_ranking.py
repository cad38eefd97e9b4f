"""Held-out lists under two real policies, with right and wrong images; nothing computed twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from perpo_core.evidence.ranking import child, measure_ranking, tables
from perpo_core.evidence.ranking.lists import make_lists
from perpo_core.evidence.ranking.measuring import (
    Bootstrap,
    RankedAnswers,
    measure_list,
    measure_tasks,
)
from perpo_core.policy.encoding import encode_prompt
from perpo_core.policy.loading import load_model
from perpo_core.policy.prompts import read_prompt
from perpo_core.stages import collect
from perpo_core.stages.evaluate import build_request
from perpo_core.stages.generate import compute_candidates_key, make_candidates
from perpo_core.stages.stage import find_or_make
from perpo_core.stages.train import child as train_child
from perpo_core.stages.train import references
from perpo_core.store.packs import Images
from schemas.base import NO_LIMITS
from schemas.ranking import RankingReport
from schemas.run import RankingJob
from tests.perpo_core.small_store import build_context, read_rows

SOURCE = {
    "kind": "digits", "train": {"counting": 1}, "selection": {}, "validation": {"counting": 1},
    "test": {"counting": 6},
}  # fmt: skip
NUM_PROMPTS = 5
POLICY, REFERENCE = 0, 1


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Children run here; the policies they load, by digest."""
    ran: list[str] = []

    def run_child(module: str, job: RankingJob, on_event: Any, **kwargs: Any) -> Any:
        assert module == tables.CHILD
        ran.append(job.training.policy.digest)
        results: list[Any] = []

        def emit(event: str, **fields: Any) -> None:
            told = {"event": event, **fields}
            results.append(told) if event == "result" else on_event(told)

        for each in (child, train_child, references):
            monkeypatch.setattr(each, "emit", emit)
        monkeypatch.setattr(child, "load_job", lambda kind: job)
        child.main()
        return results[-1]

    torch.set_num_threads(1)
    monkeypatch.setattr(tables, "run_child", run_child)
    return ran


@pytest.fixture
def setting(tmp_path, policy, asked, monkeypatch) -> Any:
    """(context, samples, the reference's held-out answers), answers 0, 1 or 2 as scripted."""
    context = build_context(
        tmp_path, source=SOURCE, generate={"max_tokens": 8}, train={"adapter": "full"},
        evaluate={"num_samples": 4, "bootstrap_resamples": 100, "probe_prompts": NUM_PROMPTS},
    )  # fmt: skip
    context = replace(context, policy=policy)
    samples = find_or_make(context, collect).artifact
    request = build_request(context.config)
    key = compute_candidates_key(request, policy, samples)
    made = make_candidates(context, key, request, policy, samples)
    return context, samples, context.store.commit(made)


def test_a_policy_ranks_the_references_answers(setting, other_policy, loaded):
    context, samples, candidates = setting
    report = measure_ranking(context, samples, other_policy, candidates)
    assert loaded == [other_policy.digest, context.policy.digest]
    assert report.counts.num_in == NUM_PROMPTS
    assert len(report.lists) == report.counts.num_kept > 1
    assert [each.sample_id for each in report.lists] == sorted(e.sample_id for e in report.lists)
    found = report.tasks["counting"]
    assert found.right.margin_nats.n == len(report.lists)
    assert found.shuffled is not None and found.margin_of_image_nats is not None
    differences = [
        each.right.implicit_margin_nats - each.shuffled.implicit_margin_nats
        for each in report.lists if each.shuffled
    ]  # fmt: skip
    mean = sum(differences) / len(differences)
    assert found.margin_of_image_nats.mean == pytest.approx(mean) and mean != 0
    assert RankingReport.model_validate_json(report.model_dump_json()) == report
    assert len(report.parents) == 4

    # The same again computes nothing, and another policy only what is its own.
    loaded.clear()
    assert measure_ranking(context, samples, other_policy, candidates) == report
    assert loaded == []
    own = measure_ranking(context, samples, context.policy, candidates)
    assert loaded == []
    for each in own.lists:
        assert each.right.implicit_margin_nats == 0
        assert each.shuffled is None or each.shuffled.implicit_margin_nats == 0
    assert own.tasks["counting"].right.margin_nats != found.right.margin_nats


def test_log_probabilities_are_of_the_image_that_is_named(setting, other_policy, loaded):
    """Against a forward of each answer by itself, with the image read from the pack."""
    context, samples, candidates = setting
    measure_ranking(context, samples, other_policy, candidates)
    held_out = make_lists(context, samples, candidates, NUM_PROMPTS)
    model, processor = load_model(other_policy, "float32", NO_LIMITS)
    tables_of = tables.make_tables(context, held_out, other_policy)
    shown = {}
    for image in ("right", "shuffled"):
        rows = read_rows(context.store, held_out.lists[image])
        table = tables.read_table(context, tables_of[image])
        packs = Images(held_out.packs[image])
        for row, logps in list(zip(rows, table, strict=True))[:2]:
            expected = [
                compute_logp(model, processor, read_prompt(row, packs), answer["token_ids"])
                for answer in row["responses"]
            ]
            assert logps == pytest.approx(expected, abs=1e-4)
            shown[image, row["sample_id"]] = logps
    for (image, sample_id), logps in shown.items():
        if image == "right" and ("shuffled", sample_id) in shown:
            assert logps != pytest.approx(shown["shuffled", sample_id], abs=1e-6)


@torch.no_grad()
def compute_logp(model: Any, processor: Any, prompt: Any, token_ids: list[int]) -> float:
    """Of an answer, nats: one sequence, no packing."""
    ids, vision = encode_prompt(processor, prompt)
    whole = torch.tensor([[*ids, *token_ids]])
    logits = model.eval()(input_ids=whole, attention_mask=torch.ones_like(whole), **vision).logits
    logps = logits[0, len(ids) - 1 : -1].log_softmax(-1)
    return logps.gather(1, torch.tensor(token_ids)[:, None]).sum().item()


def test_equal_rewards_are_nothing_to_rank(setting, other_policy, loaded, monkeypatch):
    context, samples, candidates = setting
    settings = context.config.score.model_copy(update={"counting": "exact_match"})
    rows = read_rows(context.store, samples)
    assert any(row["target"]["count"] > 2 for row in rows if row["split"] == "test")
    strict = replace(context, config=context.config.model_copy(update={"score": settings}))
    report = measure_ranking(strict, samples, other_policy, candidates)
    assert report.counts.dropped["all rewards equal"] > 0
    assert report.counts.num_in == report.counts.num_kept + sum(report.counts.dropped.values())


def build_answers(sample_id: str, right: Any, shuffled: Any) -> RankedAnswers:
    return RankedAnswers(
        sample_id, f"image of {sample_id}", "counting", [1.0, 0.0], [2, 4], right, shuffled
    )


def test_worked_by_hand():
    """Two lists: margins under the policy 3 and 1, under the reference 1 and 2; under the other
    image 0.5 and 0.25 of the first, against 0. The second has no other image."""
    answers = [
        build_answers("a", ([-1.0, -4.0], [-2.0, -3.0]), ([-2.0, -2.5], [-1.0, -1.25])),
        build_answers("b", ([-2.0, -3.0], [-2.0, -4.0]), None),
    ]
    lists = [measure_list(each) for each in answers]
    first = lists[0]
    assert (first.right.margin_nats, first.right.implicit_margin_nats) == (3, 2)
    assert first.shuffled is not None
    assert (first.shuffled.margin_nats, first.shuffled.implicit_margin_nats) == (0.5, 0.25)
    assert lists[1].right.implicit_margin_nats == -1 and lists[1].shuffled is None
    found = measure_tasks(answers, lists, Bootstrap(100, 0))["counting"]
    assert found.right.implicit_margin_nats.mean == 0.5
    assert (found.right.implicit_margin_nats.low, found.right.implicit_margin_nats.high) == (-1, 2)
    assert found.right.pairs_in_order.mean == 1
    assert found.margin_of_image_nats is not None
    assert (found.margin_of_image_nats.mean, found.margin_of_image_nats.n) == (1.75, 1)
    # A token: -0.5 and -1 of the first, -1 and -0.75 of the second, whose worse one is likelier.
    assert found.right.auc == pytest.approx(2.5 / 4)
    assert found.shuffled is not None and found.shuffled.num_answers == 2


@pytest.mark.slow
def test_a_real_child_process(setting, other_policy):
    context, samples, candidates = setting
    report = measure_ranking(context, samples, other_policy, candidates, num_prompts=2)
    assert report.counts.num_in == 2 and report.lists
