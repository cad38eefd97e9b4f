"""Rolling back: to a digest, step by step, to where the rounds began; never to what is damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from perpo_core.policy.resolve import resolve_policy
from perpo_core.promotion.history import list_moves
from perpo_core.promotion.pointer import (
    apply_promotion,
    load_history,
    load_promoted,
    roll_back,
    roll_back_to_previous,
)
from perpo_core.stages.stage import StageContext
from perpo_core.store.store import Store
from schemas.config import PolicyConfig
from tests.perpo_core.round_fixture import GATES, build_record, build_round, make, policy_of
from tests.perpo_core.small_store import POLICY_DIGEST, build_context


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    """Three rounds, each better than the one before."""
    context = build_context(tmp_path, promote=GATES)
    before = POLICY_DIGEST
    for name in ("first", "second", "third"):
        make(context, *build_round(context, name, base_policy=before))
        before = policy_of(name)
    return context


def promoted(store: Store) -> str | None:
    pointer = load_promoted(store)
    return pointer.policy_digest if pointer else None


def test_by_the_start_of_a_digest(context: StageContext) -> None:
    roll_back(context.store, policy_of("first")[:12])
    assert promoted(context.store) == policy_of("first")
    rolled = [entry.rolled_back for entry in load_history(context.store)]
    assert rolled == [False, False, False, True]


@pytest.mark.parametrize("digest", ["", "f" * 64])
def test_an_unknown_digest_is_refused(context: StageContext, digest: str) -> None:
    with pytest.raises(ValueError, match=r"\d promoted policies have a digest"):
        roll_back(context.store, digest)
    assert promoted(context.store) == policy_of("third")


def test_step_by_step_to_where_the_rounds_began(context: StageContext) -> None:
    seen = []
    for _ in range(3):
        roll_back_to_previous(context.store)
        seen.append(promoted(context.store))
    assert seen == [policy_of("second"), policy_of("first"), POLICY_DIGEST]
    with pytest.raises(ValueError, match=r"nothing is promoted in .*, so there is nothing to roll"):
        roll_back_to_previous(context.store)


def test_at_the_base_the_next_run_starts_from_the_base(tmp_path: Path, context: StageContext):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("base")
    config = PolicyConfig(model="promoted", base=str(base))
    assert resolve_policy(config, context.store).digest == policy_of("third")
    roll_back(context.store, POLICY_DIGEST)
    assert resolve_policy(config, context.store).folder == base
    make(context, *build_round(context, "fourth"))
    assert resolve_policy(config, context.store).digest == policy_of("fourth")
    roll_back_to_previous(context.store)
    assert resolve_policy(config, context.store).folder == base


def test_a_decision_applied_before_does_not_undo_it(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    evaluation, checkpoint = build_round(context, "first")
    promotion = make(context, evaluation, checkpoint)
    roll_back_to_previous(context.store)
    apply_promotion(context.store, promotion, checkpoint)
    assert promoted(context.store) == POLICY_DIGEST


def test_to_the_base_also_when_the_first_checkpoints_are_gone(context: StageContext) -> None:
    for entry in load_history(context.store)[:2]:
        shutil.rmtree(context.store.folder("checkpoint", str(entry.checkpoint_key)))
    roll_back(context.store, "base")
    assert promoted(context.store) == POLICY_DIGEST


def test_nothing_promoted_yet(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing is promoted"):
        roll_back_to_previous(Store(tmp_path))


@pytest.mark.parametrize(("how", "said"), [("gone", "is gone"), ("damaged", "is no longer what")])
def test_a_policy_that_is_gone_or_damaged_is_refused(
    context: StageContext, how: str, said: str
) -> None:
    before = load_history(context.store)
    folder = context.store.root / str(before[1].folder)
    if how == "gone":
        shutil.rmtree(folder)
    else:
        (folder / "config.json").write_text("other")
    with pytest.raises(ValueError, match=said):
        roll_back_to_previous(context.store)
    assert load_history(context.store) == before and promoted(context.store) == policy_of("third")


def test_the_moves_name_runs_gates_and_what_was_undone(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    records = []
    for name, base in (("first", POLICY_DIGEST), ("second", policy_of("first"))):
        evaluation, checkpoint = build_round(context, name, base_policy=base)
        promotion = make(context, evaluation, checkpoint)
        records.append(build_record(context, f"run-{name}", checkpoint, evaluation, promotion))
    roll_back_to_previous(context.store)
    moves = list_moves(context.store, records)
    assert [move.run_id for move in moves] == ["run-first", "run-second", "run-first"]
    assert [move.is_current for move in moves] == [False, False, True]
    assert [move.is_undone for move in moves] == [False, True, False]
    assert [gate.measured for gate in moves[0].gates] == [pytest.approx(0.04), 0.0]
