"""Promotion: gates by hand, the pointer and its history, and what leaves them alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.commands.tables import describe_promotion
from perpo_core.promotion.pointer import apply_promotion, load_history, load_promoted
from perpo_core.stages import promote
from perpo_core.stages.promote.gates import compute_gates, decide
from perpo_core.stages.stage import find_or_make
from perpo_core.store.keys import compute_hash
from schemas.config import PromoteConfig
from tests.perpo_core.round_fixture import GATES, build_round, build_validation, make, policy_of
from tests.perpo_core.small_store import build_context


def test_passing_gates_move_the_pointer(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    assert load_promoted(context.store) is None
    promotion = make(context, *build_round(context, "first"))
    assert promotion.promoted and promotion.policy_digest == policy_of("first")
    assert promotion.counts.num_kept == 2
    pointer = load_promoted(context.store)
    assert pointer is not None and pointer.policy_digest == policy_of("first")
    assert pointer.checkpoint_key == compute_hash(["checkpoint", "first"])
    assert pointer.folder is not None
    assert (context.store.root / pointer.folder / "config.json").read_text() == "first"
    assert load_history(context.store) == [pointer]


def test_a_refusal_leaves_the_pointer_alone(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    make(context, *build_round(context, "first"))
    before = load_promoted(context.store)
    worse = build_round(context, "second", build_validation(loss=0.02), policy_of("first"))
    refused = make(context, *worse)
    assert not refused.promoted
    assert [gate.passed for gate in refused.gates] == [True, False]
    assert refused.counts.dropped == {"gate failed": 1}
    assert load_promoted(context.store) == before and len(load_history(context.store)) == 1


def test_a_reused_decision_adds_nothing(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    evaluation, checkpoint = build_round(context, "first")
    make(context, evaluation, checkpoint)
    result = find_or_make(context, promote, evaluation, checkpoint)
    assert result.reused
    apply_promotion(context.store, result.artifact, checkpoint)
    assert len(load_history(context.store)) == 1


def test_a_reused_decision_repairs_a_lost_pointer(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    evaluation, checkpoint = build_round(context, "first")
    promotion = make(context, evaluation, checkpoint)
    before = load_promoted(context.store)
    (context.store.root / "promoted" / "current.json").unlink()
    apply_promotion(context.store, promotion, checkpoint)
    assert load_promoted(context.store) == before


def test_a_kill_between_pointer_and_history_is_repaired(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    make(context, *build_round(context, "first"))
    evaluation, checkpoint = build_round(context, "second", base_policy=policy_of("first"))
    history = context.store.root / "promoted" / "history.jsonl"
    one_line = history.read_text()
    promotion = make(context, evaluation, checkpoint)
    history.write_text(one_line)
    apply_promotion(context.store, promotion, checkpoint)
    digests = [entry.policy_digest for entry in load_history(context.store)]
    assert digests == [policy_of("first"), policy_of("second")]


def test_an_old_decision_does_not_undo_a_later_one(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    evaluation, checkpoint = build_round(context, "first")
    old = make(context, evaluation, checkpoint)
    make(context, *build_round(context, "second", base_policy=policy_of("first")))
    apply_promotion(context.store, old, checkpoint)
    pointer = load_promoted(context.store)
    assert pointer is not None and pointer.policy_digest == policy_of("second")


def test_promoting_the_current_policy_adds_nothing(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    round_one = build_round(context, "first")
    make(context, *round_one)
    other_gates = build_context(tmp_path, promote=GATES | {"max_loss": {}})
    assert make(other_gates, *round_one).promoted
    assert len(load_history(context.store)) == 1


def test_the_lower_end_decides_about_a_gain() -> None:
    config = PromoteConfig(min_gain={"grounding": {"sampled_reward": 0.0}}, max_loss={})
    sure, unsure = build_validation(gain=0.02), build_validation(gain=0.005)
    assert decide(compute_gates(config, sure)) and not decide(compute_gates(config, unsure))
    assert compute_gates(config, unsure)[0].measured == pytest.approx(-0.005)


@pytest.mark.parametrize(("loss", "passed"), [(0.0, True), (0.25, True), (0.26, False)])
def test_the_mean_decides_about_a_loss(loss: float, passed: bool) -> None:
    config = PromoteConfig(min_gain={}, max_loss={"ocr": {"greedy_reward": 0.25}})
    assert decide(compute_gates(config, build_validation(loss=loss))) == passed


def test_less_edit_distance_is_a_gain() -> None:
    config = PromoteConfig.model_validate(
        {"min_gain": {"ocr": {"edit_distance": 0.0}}, "max_loss": {"ocr": {"edit_distance": 0.1}}}
    )
    better, worse = build_validation(loss=-0.2), build_validation(loss=0.2)
    assert [gate.measured for gate in compute_gates(config, better)] == [
        pytest.approx(0.19), pytest.approx(0.2),
    ]  # fmt: skip
    assert decide(compute_gates(config, better))
    assert [gate.passed for gate in compute_gates(config, worse)] == [False, False]


def test_a_task_without_validation_prompts_is_skipped_and_listed() -> None:
    config = PromoteConfig.model_validate(GATES | {"max_loss": {"counting": {"accuracy": 0.0}}})
    two = config.model_copy(
        update={"max_loss": {"counting": {"accuracy": 0.0}, "ocr": {"greedy_reward": 0.01}}}
    )
    gates = compute_gates(two, build_validation())
    assert [gate.measured is None for gate in gates] == [False, True, False]
    assert "not measured: no validation prompts" in gates[1].rule and not gates[1].passed
    assert decide(gates)
    # No max_loss gate at all could be measured: nothing is promoted unseen.
    assert not decide(compute_gates(config, build_validation()))
    assert not decide(compute_gates(config, {}))


BLIND: dict[str, tuple[dict[str, Any], str]] = {
    "gains of an absent task": (
        {"min_gain": {"counting": {"accuracy": 0.0}}}, "promote.min_gain names only counting, of",
    ),
    "losses of absent tasks": (
        {"max_loss": {"counting": {"accuracy": 0.0}}}, "promote.max_loss names only counting, of",
    ),
    "no gates": (
        {"min_gain": {}, "max_loss": {}}, "promote.min_gain and promote.max_loss name no metric",
    ),
    "tasks without metrics": ({"min_gain": {"ocr": {}}, "max_loss": {"ocr": {}}}, "no metric"),
}  # fmt: skip


@pytest.mark.parametrize("case", BLIND)
def test_nothing_is_promoted_unseen_and_the_decision_says_so(case: str, tmp_path: Path) -> None:
    gates, why = BLIND[case]
    context = build_context(tmp_path, promote=GATES | gates)
    promotion = make(context, *build_round(context, "first"))
    assert not promotion.promoted and why in (promotion.held or "")
    assert load_promoted(context.store) is None
    assert why in describe_promotion(promotion, "run").plain


def test_unknown_metric_is_an_error_even_for_a_skipped_task() -> None:
    config = PromoteConfig(min_gain={"counting": {"acc": 0.0}}, max_loss={})
    with pytest.raises(ValueError, match=r"promote.min_gain.counting .*'acc'.* one of accuracy"):
        compute_gates(config, {})


def test_evaluation_of_another_checkpoint_is_an_error(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    evaluation, _ = build_round(context, "first")
    _, other = build_round(context, "second")
    with pytest.raises(ValueError, match="is not of the checkpoint"):
        make(context, evaluation, other)


def test_key_sees_the_numbers_behind_the_gates(tmp_path: Path) -> None:
    context = build_context(tmp_path, promote=GATES)
    evaluation, checkpoint = build_round(context, "first")
    other = evaluation.model_copy(update={"validation": build_validation(gain=0.5)})
    assert evaluation.digest == other.digest
    keys = [
        promote.compute_key(context.config, context.policy, report, checkpoint)
        for report in (evaluation, other)
    ]
    assert keys[0] != keys[1]
