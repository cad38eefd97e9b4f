"""What a decision is a decision about, and what its artifact and the log say of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perpo_core.promotion.pointer import ChampionChanged, load_promoted
from perpo_core.stages import promote
from perpo_core.stages.stage import StageContext, find_or_make
from perpo_core.store.keys import compute_digest, compute_hash
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents
from schemas.artifact import Checkpoint, EvalReport
from tests.perpo_core.round_fixture import GATES, build_round, build_validation, make, policy_of
from tests.perpo_core.small_store import POLICY_DIGEST, build_context

Round = tuple[EvalReport, Checkpoint]


def configure(context: StageContext, **settings: Any) -> StageContext:
    section = context.config.promote.model_copy(update=settings)
    return replace(context, config=context.config.model_copy(update={"promote": section}))


def compute_key(context: StageContext, round_: Round) -> str:
    return promote.compute_key(context.config, context.policy, *round_)


# The key


def test_what_is_off_by_default_is_no_part_of_a_key(tmp_path: Path) -> None:
    """So decisions of a store stay what they were when settings are added."""
    context = build_context(tmp_path, promote=GATES)
    evaluation, checkpoint = build_round(context, "first")
    numbers = {
        task: {name: metric.model_dump() for name, metric in metrics.items()}
        for task, metrics in evaluation.validation.items()
    }
    parents = as_parents(evaluation, checkpoint)
    expected = compute_stage_key("promote", promote.VERSION, parents, GATES, numbers)
    assert compute_key(context, (evaluation, checkpoint)) == expected


def change_gates(context: StageContext, round_: Round) -> tuple[StageContext, Round]:
    return configure(context, min_gain={"ocr": {"exact": 0.0}}), round_


def disable(context: StageContext, round_: Round) -> tuple[StageContext, Round]:
    return configure(context, enabled=False), round_


def insist(context: StageContext, round_: Round) -> tuple[StageContext, Round]:
    return configure(context, without_champion=True), round_


def change_evaluation(context: StageContext, round_: Round) -> tuple[StageContext, Round]:
    return context, (round_[0].model_copy(update={"digest": compute_hash("other")}), round_[1])


def change_numbers(context: StageContext, round_: Round) -> tuple[StageContext, Round]:
    other = round_[0].model_copy(update={"validation": build_validation(gain=0.5)})
    return context, (other, round_[1])


def change_checkpoint(context: StageContext, round_: Round) -> tuple[StageContext, Round]:
    return context, (round_[0], round_[1].model_copy(update={"digest": compute_hash("other")}))


@pytest.mark.parametrize("beside_a_champion", [False, True])
@pytest.mark.parametrize(
    "change",
    [change_gates, disable, insist, change_evaluation, change_numbers, change_checkpoint],
)
def test_another_question_has_another_key(
    tmp_path: Path,
    beside_a_champion: bool,
    change: Callable[[StageContext, Round], tuple[StageContext, Round]],
) -> None:
    context = build_context(tmp_path, promote=GATES)
    if beside_a_champion:
        make(context, *build_round(context, "champion"))
    round_ = build_round(context, "first")
    assert compute_key(*change(context, round_)) != compute_key(context, round_)
    assert compute_key(configure(context, approval=True), round_) == compute_key(context, round_)


def test_a_key_knows_the_champion_and_whether_it_can_be_asked(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    round_ = build_round(context, "first")
    keys = [compute_key(context, round_)]
    assert not promote.wants_engine(context, "", *round_)
    for name in ("champion", "next champion"):
        before = load_promoted(context.store)
        start = before.policy_digest if before else POLICY_DIGEST
        make(context, *build_round(context, name, base_policy=start))
        keys.append(compute_key(context, round_))
        assert promote.wants_engine(context, "", *round_)
    pointer = load_promoted(context.store)
    assert pointer is not None and pointer.policy_digest == policy_of("next champion")
    assert pointer.folder is not None
    shutil.rmtree(context.store.root / pointer.folder)
    keys.append(compute_key(context, round_))
    assert len(set(keys)) == 4


# What is written


def test_a_decision_says_what_it_was_made_of(tmp_path: Path) -> None:
    said: list[str] = []
    context = replace(build_context(tmp_path, promote=GATES), log=said.append)
    evaluation, checkpoint = build_round(context, "first", build_validation(loss=0.02))
    promotion = make(context, evaluation, checkpoint)
    assert promotion.parents == as_parents(evaluation, checkpoint)
    assert promotion.producer.seed == context.config.evaluate.seed
    assert promotion.producer.threads == 1
    assert promotion.counts.dropped == {"gate failed": 1}
    assert 0 <= promotion.seconds < 100 and promotion.attempt == 0
    assert promotion.digest == compute_digest(promotion.files)
    assert [file.path for file in promotion.files] == ["decision.json"]
    decision = json.loads(context.store.path(promotion, "decision.json").read_text())
    assert decision["promoted"] is False and "held" not in decision
    assert [gate["passed"] for gate in decision["gates"]] == [True, False]
    assert [line.split(":")[0] for line in said if line.startswith("gate ")] == [
        "gate passed", "gate failed",
    ]  # fmt: skip
    again = find_or_make(replace(context, force=True), promote, evaluation, checkpoint)
    assert not again.reused and again.artifact.attempt == 1


def test_a_pointer_that_never_rests_ends_the_stage(tmp_path: Path, monkeypatch) -> None:
    said: list[str] = []
    context = replace(build_context(tmp_path, promote=GATES), log=said.append)
    round_ = build_round(context, "first")
    decisions: list[str] = []

    def change(context: Any, promotion: Any, checkpoint: Any) -> None:
        decisions.append(promotion.key)
        raise ChampionChanged("another policy was promoted")

    monkeypatch.setattr(promote, "settle", change)
    with pytest.raises(ValueError, match="changed 5 times while this run decided"):
        make(context, *round_)
    assert len(decisions) == 5
    assert said.count("another policy was promoted; deciding again") == 5
