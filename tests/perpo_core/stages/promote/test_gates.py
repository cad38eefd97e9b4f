"""Gates one by one: where they draw the line, in what order they stand, and what they say."""

from __future__ import annotations

from typing import Any

import pytest

from perpo_core.stages.promote.gates import (
    Validation,
    compute_gates,
    count_gates,
    decide,
    describe_gate,
    find_unmeasured,
    list_gated,
)
from schemas.artifact import Gate
from schemas.config import PromoteConfig
from tests.perpo_core.round_fixture import GATES, build_metric, build_validation


def build_config(**gates: Any) -> PromoteConfig:
    return PromoteConfig.model_validate({"min_gain": {}, "max_loss": {}} | gates)


@pytest.mark.parametrize(
    ("low", "limit", "passed"),
    [(0.0, 0.0, False), (1e-6, 0.0, True), (0.25, 0.25, False), (0.26, 0.25, True)],
)
def test_a_gain_has_to_be_above_its_limit(low: float, limit: float, passed: bool) -> None:
    """A policy that answers as the other does gains exactly 0."""
    config = build_config(min_gain={"ocr": {"exact": limit}})
    metric = build_metric(low, spread=0)
    [gate] = compute_gates(config, {"ocr": {"exact": metric}})
    assert gate.passed == passed and gate.measured == low
    assert decide([gate]) == passed


def test_rules_say_what_is_asked_and_of_whom() -> None:
    config = PromoteConfig.model_validate(GATES)
    gain, loss = "min_gain: lower 95% end of the gain in ", "max_loss: mean gain in "
    assert [gate.rule for gate in compute_gates(config, build_validation())] == [
        f"{gain}sampled_reward > 0",
        f"{loss}greedy_reward >= -0.01",
    ]
    until_now = ", against the policy promoted until now"
    assert [gate.rule for gate in compute_gates(config, build_validation(), "champion")] == [
        f"{gain}sampled_reward > 0{until_now}",
        f"{loss}greedy_reward >= -0.01{until_now}",
    ]


def test_gates_stand_in_order_of_kind_task_and_metric() -> None:
    config = build_config(
        max_loss={"ocr": {"greedy_reward": 0.1}, "counting": {"accuracy": 0.1}},
        min_gain={"ocr": {"sampled_reward": 0.0, "best_of_n": 0.0}, "grounding": {"mean_iou": 0.0}},
    )
    found = [(gate.task, gate.metric) for gate in compute_gates(config, {})]
    assert found == [
        ("grounding", "mean_iou"), ("ocr", "best_of_n"), ("ocr", "sampled_reward"),
        ("counting", "accuracy"), ("ocr", "greedy_reward"),
    ]  # fmt: skip
    assert list_gated(config, "min_gain") == ["grounding", "ocr"]
    assert list_gated(config, "max_loss") == ["counting", "ocr"]


def test_a_task_without_metrics_is_not_gated() -> None:
    config = build_config(min_gain={"ocr": {}, "counting": {"accuracy": 0.0}})
    assert list_gated(config, "min_gain") == ["counting"]


def build_gates(validation: Validation) -> list[Gate]:
    """A gain that may pass, a loss that may, and one of a task that is not there."""
    config = PromoteConfig.model_validate(
        GATES | {"max_loss": {"ocr": {"greedy_reward": 0.01}, "counting": {"accuracy": 0.0}}}
    )
    return compute_gates(config, validation)


def test_a_line_of_the_log_says_how_a_gate_went() -> None:
    passed, skipped, failed = map(describe_gate, build_gates(build_validation(loss=0.02)))
    assert passed.startswith("gate passed: grounding, min_gain: ")
    assert passed.endswith("; measured +0.0400")
    assert skipped.startswith("gate skipped: counting, max_loss: ")
    assert skipped.endswith("(not measured: no validation prompts of this task)")
    assert failed.startswith("gate failed: ocr, max_loss: ")
    assert failed.endswith("; measured -0.0200")


def test_every_gate_is_counted_once() -> None:
    counts = count_gates(build_gates(build_validation(loss=0.02)))
    assert (counts.num_in, counts.num_kept) == (3, 1)
    assert counts.dropped == {"gate failed": 1, "not measured": 1}
    assert count_gates(build_gates(build_validation())).dropped == {"not measured": 1}


def test_the_first_blind_kind_is_named_with_all_its_tasks() -> None:
    config = build_config(
        min_gain={"ocr": {"exact": 0.0}},
        max_loss={"ocr": {"exact": 0.0}, "counting": {"accuracy": 0.0}},
    )
    assert find_unmeasured(compute_gates(config, {})) == (
        "promote.max_loss names only counting and ocr, of which there are no validation prompts, "
        "so that no gate of this kind was measured"
    )
