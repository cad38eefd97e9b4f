"""The metrics of ranked lists: by hand, from their formulas, against scikit-learn and SciPy."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.metrics import ndcg_score
from torch._subclasses import FakeTensorMode

from perpo_core.stages.train.objectives.metrics import (
    LIST_METRICS,
    WITHOUT_REFERENCE,
    compute_list_metrics,
)
from tests.perpo_core.stages.train.objectives.cases import (
    MANY,
    Case,
    build_batch,
    build_case,
    draw_cases,
    move_batch,
)
from tests.perpo_core.stages.train.objectives.slow_metrics import compute_slow_metrics

BETA = 0.3
RANKS = ("rewards/accuracies", "list/ndcg", "list/kendall_tau")


def compute(
    *cases: Case, beta: float = BETA, dtype: torch.dtype = torch.float64
) -> dict[str, float]:
    """Sums over the lists."""
    sums = compute_list_metrics(build_batch(cases, dtype), beta)
    return {name: value.item() for name, value in sums.items()}


def approx(expected: Any, tolerance: float = 1e-12) -> Any:
    return pytest.approx(expected, rel=tolerance, abs=tolerance)


def test_the_names_are_those_that_are_documented():
    assert list(compute(build_case([0.5], [1.0]))) == list(LIST_METRICS)
    assert set(WITHOUT_REFERENCE) < set(LIST_METRICS)


# By hand


def test_three_answers_by_hand():
    """DCG of the order 2, 0, 1: 0.1 + 0.9 / log2(3) + 0.5 / 2, ideal 0.9 + 0.5 / log2(3) + 0.1 / 2.

    That is 0.917837 / 1.265465 = 0.725296.
    """
    case = build_case([0.2, -0.1, 0.4], [0.9, 0.5, 0.1])
    case = replace(case, logps=[-1.8, -3.1, -0.6], refs=[-2.0, -3.0, -1.0])
    assert compute(case, beta=0.1) == approx(
        {
            "rewards/chosen": 0.02,
            "rewards/rejected": 0.04,
            "rewards/margins": -0.02,
            "rewards/accuracies": 1 / 3,
            "logps/chosen": -1.8,
            "logps/rejected": -0.6,
            "logps/chosen_change": 0.2,
            "logps/rejected_change": 0.4,
            "list/ndcg": 0.725296,
            "list/kendall_tau": -1 / 3,
            "kl": 0.039355,
        },
        tolerance=1e-6,
    )


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([0.2, 0.3, -0.1], (2 / 3, 0.859719, 1 / 3)),
        ([0.3, 0.3, -0.1], (5 / 6, 0.929859, 0.816497)),
        ([0.3, 0.2, -0.1], (1, 1, 1)),
        ([-0.1, 0.2, 0.3], (0, 0.619906, -1)),  # (0.5 / log2(3) + 1 / 2) / 1.315465
        # All tie: mean discount (1 + 0.630930 + 0.5) / 3 = 0.710310, times 1.5 / 1.315465.
        ([0.0, 0.0, 0.0], (1 / 2, 0.809953, 0)),
    ],
)
def test_ranks_by_hand(scores, expected):
    metrics = compute(build_case(scores, [1.0, 0.5, 0.0]))
    assert [metrics[name] for name in RANKS] == approx(list(expected), tolerance=1e-6)


def test_answers_that_share_a_place_stand_for_their_mean():
    metrics = compute(build_case([1.0, 2.0, -4.0, -3.0], [0.9, 0.9, 0.2, 0.2]), beta=2.0)
    assert metrics["logps/chosen_change"] == 1.5
    assert metrics["logps/rejected_change"] == -3.5
    assert metrics["rewards/margins"] == 10.0


# From the formulas


@MANY
@given(cases=st.lists(draw_cases(), min_size=1, max_size=3))
def test_metrics_equal_the_formulas(cases):
    """Sums over lists of several sizes, with holes, beside padding that is not a number."""
    slow = [compute_slow_metrics(case, BETA) for case in cases]
    expected = {name: sum(metrics[name] for metrics in slow) for name in LIST_METRICS}
    assert compute(*cases) == approx(expected, tolerance=1e-9)


@MANY
@given(case=draw_cases(min_size=2))
def test_ranks_equal_those_of_the_libraries(case):
    scores = np.array([case.logps[i] - case.refs[i] for i in case.members])
    rewards = np.array([case.rewards[i] for i in case.members])
    if len(scores) < 2:
        return
    metrics = compute(case)
    tau = kendalltau(scores, rewards).statistic  # tau-b; NaN where it is undefined
    assert metrics["list/kendall_tau"] == approx(0.0 if math.isnan(tau) else tau)
    if rewards.any():  # the library calls the NDCG of rewards that are all 0 0
        assert metrics["list/ndcg"] == approx(ndcg_score([rewards], [scores]))


def test_lower_precision_changes_nothing_that_it_can_hold():
    case = build_case([0.25, -0.5, 1.0, 0.25], [0.9, 0.5, 0.5, 0.1])
    assert compute(case, dtype=torch.bfloat16) == approx(compute(case), tolerance=1e-6)


# What leaves them alone


@MANY
@given(case=draw_cases(), data=st.data())
def test_the_order_of_a_list_changes_nothing(case, data):
    order = data.draw(st.permutations(range(len(case.logps))))
    assert compute(case.reorder(order)) == approx(compute(case))


@MANY
@given(case=draw_cases(), n=st.integers(1, 12))
def test_a_shift_of_all_log_ratios_moves_no_rank_and_no_margin(case, n):
    moved = compute(replace(case, refs=[ref - n / 4 for ref in case.refs]))
    for name in (*RANKS, "rewards/margins"):
        assert moved[name] == approx(compute(case)[name])


@MANY
@given(case=draw_cases())
def test_metrics_stay_in_their_ranges(case):
    metrics = compute(case)
    assert metrics["kl"] >= 0
    assert -1e-12 <= metrics["list/ndcg"] <= 1 + 1e-12
    assert abs(metrics["list/kendall_tau"]) <= 1 + 1e-12
    assert 0 <= metrics["rewards/accuracies"] <= 1


# The edges


@pytest.mark.parametrize(
    ("rewards", "mask"),
    [
        ([0.5, 0.5, 0.5], [True, True, True]),
        ([0.0, 0.0, 0.0], [True, True, True]),
        ([0.1, 0.5, 0.9], [False, True, False]),
        ([0.1, 0.5, 0.9], [False, False, False]),
    ],
    ids=["all tied", "all worth nothing", "singleton", "all masked"],
)
def test_a_list_whose_rewards_do_not_differ(rewards, mask):
    metrics = compute(build_case([1.0, -2.0, 3.0], rewards, mask))
    assert [metrics[name] for name in RANKS] == approx([0.5, 1.0, 0.0])
    assert metrics["rewards/margins"] == 0
    there = [s for s, is_there in zip([1.0, -2.0, 3.0], mask, strict=True) if is_there]
    mean = sum(there) / max(len(there), 1)
    assert metrics["logps/chosen_change"] == approx(mean) == metrics["logps/rejected_change"]


def test_at_the_start_there_is_no_order_and_no_distance():
    case = build_case([-1.0, -2.0, -3.0], [0.9, 0.5, 0.1])
    metrics = compute(replace(case, refs=case.logps))
    for name in ("kl", "list/kendall_tau", "rewards/margins", "logps/chosen_change"):
        assert metrics[name] == 0
    assert metrics["rewards/accuracies"] == 0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_extreme_log_ratios_stay_finite(dtype):
    """s of -1e4, 0 and 1e4, which counts as 10: exp(s) - 1 - s is 1e4 - 1, 0 and exp(10) - 11."""
    metrics = compute(build_case([-1e4, 0.0, 1e4], [1.0, 0.5, 0.0]), beta=100.0, dtype=dtype)
    assert all(math.isfinite(value) for value in metrics.values())
    assert metrics["kl"] == approx((1e4 - 1 + math.exp(10) - 11) / 3, tolerance=1e-2)


def test_kl_is_that_of_the_policies_where_the_answers_are_those_of_the_reference():
    """Reference (1/2, 1/4, 1/4), policy (1/4, 1/4, 1/2), answers as often as the reference says.

    KL = sum of ref * log(ref / pi) = 1/2 ln 2 + 0 - 1/4 ln 2 = ln 2 / 4.
    """
    half, quarter = math.log(0.5), math.log(0.25)
    refs, logps = [half, half, quarter, quarter], [quarter, quarter, quarter, half]
    case = replace(build_case(logps, [0.9, 0.7, 0.5, 0.1]), refs=refs)
    assert compute(case)["kl"] == approx(math.log(2) / 4)


def test_nothing_carries_a_gradient():
    sums = compute_list_metrics(build_batch([build_case([0.5, -0.5], [1.0, 0.0])]), BETA)
    assert not any(value.requires_grad for value in sums.values())


def test_they_are_computed_where_the_batch_is():
    case = build_case([0.5, -0.5], [1.0, 0.0])
    with FakeTensorMode():
        sums = compute_list_metrics(move_batch(build_batch([case]), "meta"), BETA)
    assert {value.device.type for value in sums.values()} == {"meta"}
