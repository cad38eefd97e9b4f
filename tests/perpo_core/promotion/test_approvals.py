"""promote.approval: the pointer moves when the gates passed and a person approved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpo_core.promotion.approvals import approve, find_answer, load_approvals, reject
from perpo_core.promotion.history import list_moves
from perpo_core.promotion.pointer import load_history, load_promoted
from perpo_core.stages import promote
from perpo_core.stages.stage import StageContext
from schemas.artifact import Promotion
from schemas.run import RunRecord
from tests.perpo_core.round_fixture import (
    GATES,
    build_record,
    build_round,
    build_validation,
    make,
    policy_of,
)
from tests.perpo_core.small_store import build_context


def build_run(context: StageContext, **options: Any) -> tuple[RunRecord, Promotion]:
    evaluation, checkpoint = build_round(context, "first", **options)
    promotion = make(context, evaluation, checkpoint)
    return build_record(context, "a-run", checkpoint, evaluation, promotion), promotion


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    return build_context(tmp_path, promote=GATES | {"approval": True})


def test_the_pointer_waits_for_a_person(context: StageContext) -> None:
    run, promotion = build_run(context)
    assert promotion.promoted and find_answer(context.store, promotion) == "waiting"
    assert load_promoted(context.store) is None and load_history(context.store) == []
    approve(context.store, run)
    pointer = load_promoted(context.store)
    assert pointer is not None and pointer.policy_digest == policy_of("first")
    assert find_answer(context.store, promotion) == "approved"
    assert [move.by_person for move in list_moves(context.store, [run])] == [True]


def test_made_again_it_asks_once_and_an_answer_stands(context: StageContext) -> None:
    """A kill before the commit makes the decision again; no answer is forgotten by that."""
    evaluation, checkpoint = build_round(context, "first")
    key = promote.compute_key(context.config, context.policy, evaluation, checkpoint)
    for _ in range(2):
        promotion = promote.run(context, key, evaluation, checkpoint)
    assert [entry.answer for entry in load_approvals(context.store)] == ["waiting"]
    run = build_record(context, "a-run", checkpoint, evaluation, context.store.commit(promotion))
    reject(context.store, run)
    promote.run(context, key, evaluation, checkpoint)
    assert find_answer(context.store, promotion) == "rejected"


def test_a_rejected_one_stays_until_it_is_approved(context: StageContext) -> None:
    run, promotion = build_run(context)
    reject(context.store, run)
    assert load_promoted(context.store) is None
    assert find_answer(context.store, promotion) == "rejected"
    approve(context.store, run)
    assert load_promoted(context.store) is not None


def test_a_kill_between_answer_and_pointer_is_mended_by_the_same_command(
    context: StageContext,
) -> None:
    run, _ = build_run(context)
    approve(context.store, run)
    for name in ("current.json", "history.jsonl"):
        (context.store.root / "promoted" / name).unlink()
    approve(context.store, run)
    assert load_promoted(context.store) is not None and len(load_history(context.store)) == 1


def test_what_cannot_be_approved_says_why(context: StageContext) -> None:
    refused, _ = build_run(context, validation=build_validation(loss=0.5))
    with pytest.raises(ValueError, match=r"the gates of run a-run did not pass"):
        approve(context.store, refused)
    run, _ = build_run(context)
    approve(context.store, run)
    for answer in (lambda: approve(context.store, run),
                   lambda: reject(context.store, run)):  # fmt: skip
        with pytest.raises(ValueError, match="was promoted already"):
            answer()
    half = run.model_copy(update={"stages": {}})
    with pytest.raises(ValueError, match="the promotion of run a-run is not in"):
        approve(context.store, half)


def test_a_run_that_did_not_ask_is_promoted_at_once(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    run, promotion = build_run(context)
    assert load_promoted(context.store) is not None
    assert find_answer(context.store, promotion) is None
    with pytest.raises(ValueError, match="was promoted already"):
        approve(context.store, run)


def test_a_damaged_policy_is_not_promoted(context: StageContext) -> None:
    run, promotion = build_run(context)
    entry = run.stages["train"]
    (context.store.folder(entry.kind, entry.key) / "model" / "config.json").write_text("other")
    with pytest.raises(ValueError, match=r"cannot be promoted: .*is no longer what was promoted"):
        approve(context.store, run)
    assert load_promoted(context.store) is None
    assert find_answer(context.store, promotion) == "waiting"


def test_whether_a_person_is_asked_is_not_part_of_the_decision(context: StageContext) -> None:
    evaluation, checkpoint = build_round(context, "first")
    without = context.config.model_copy(
        update={"promote": context.config.promote.model_copy(update={"approval": False})}
    )
    keys = [
        promote.compute_key(config, context.policy, evaluation, checkpoint)
        for config in (context.config, without)
    ]
    assert keys[0] == keys[1]
