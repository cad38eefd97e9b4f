"""Smoothed preferences: by hand, at their edges, and where they are DPO."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.stages.train.objectives.pairs import PAIR_CHOICES
from perpo_core.stages.train.objectives.rosepo import compute_smoothing
from schemas.train_config import MAX_SMOOTHING_SLOPE, TrainConfig
from tests.perpo_core.stages.train.objectives.cases import (
    EXAMPLES,
    LOSSES,
    Case,
    build_batch,
    build_case,
    build_config,
    compute,
    compute_gradients,
    draw_cases,
)

LN2 = math.log(2)


def by_column(**fields: object) -> TrainConfig:
    return build_config("rosepo", smoothing="column", smoothing_column="doubt", **fields)


def doubt(case: Case, eps: float) -> Case:
    """The same doubt of every answer, and so of every pair."""
    return replace(case, smoothing=[eps] * len(case.logps))


def compute_pair(margin: float, eps: float) -> tuple[float, float]:
    """(loss, its derivative by the margin) of a list of two, beta 1."""
    batch = build_batch([doubt(build_case([margin, 0.0], [0.9, 0.1]), eps)])
    loss_P = LOSSES["rosepo"].compute_loss_P(batch, by_column(beta=1.0))
    [gradient_PG] = compute_gradients(loss_P.sum(), batch.logps_PG)
    return loss_P.item(), gradient_PG[0, 0].item()


def test_by_hand():
    assert compute_pair(0.4, 0.1)[0] == pytest.approx(0.553015, abs=1e-6)
    case = build_case([0.4, 0.0], [0.9, 0.1])
    config = build_config("rosepo", beta=1.0, smoothing_slope=2.0)
    assert compute("rosepo", case, config) == pytest.approx(0.580208, abs=1e-6)


def test_a_pair_is_doubted_as_its_two_answers_are_on_average():
    case = replace(build_case([0.4, 0.0], [0.9, 0.1]), smoothing=[0.15, 0.05])
    assert compute("rosepo", case, by_column(beta=1.0)) == pytest.approx(0.553015, abs=1e-6)


@pytest.mark.parametrize("pairs", PAIR_CHOICES)
@EXAMPLES
@given(case=draw_cases(), beta=st.floats(0.05, 3))
def test_without_doubt_it_is_dpo_to_the_last_bit(pairs, case, beta):
    dpo = build_config("dpo", beta=beta, pairs=pairs)
    sure = by_column(beta=beta, pairs=pairs)
    assert compute("rosepo", doubt(case, 0.0), sure) == compute("dpo", case, dpo)


@EXAMPLES
@given(case=draw_cases())
def test_the_steepest_slope_is_dpo(case):
    """Gaps of 1/6 and more are sure."""
    config = build_config("rosepo", smoothing_slope=MAX_SMOOTHING_SLOPE)
    assert compute("rosepo", case, config) == compute("dpo", case, build_config("dpo"))


@EXAMPLES
@given(case=draw_cases(), beta=st.floats(0.05, 3))
def test_fully_doubted_it_is_dpo_of_the_reversed_pairs(case, beta):
    reversed_case = replace(case, rewards=[-reward for reward in case.rewards])
    dpo = build_config("dpo", beta=beta, pairs="all")
    loss = compute("rosepo", doubt(case, 1.0), by_column(beta=beta, pairs="all"))
    assert loss == pytest.approx(compute("dpo", reversed_case, dpo), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("eps", [0.0, 0.1, 0.3, 0.5, 0.8])
def test_the_slope_at_no_margin(eps):
    """-(1 - 2 eps) / 2 at beta 1; and the loss there is ln 2 whatever the doubt."""
    loss, slope = compute_pair(0.0, eps)
    assert (loss, slope) == pytest.approx((LN2, -(1 - 2 * eps) / 2), abs=1e-12)


@pytest.mark.parametrize("eps", [0.05, 0.1, 0.3, 0.5, 0.8])
def test_the_minimum_is_where_the_margin_says_as_much_as_is_sure(eps):
    at = math.log((1 - eps) / eps)  # sigmoid(at) = 1 - eps
    loss, slope = compute_pair(at, eps)
    assert slope == pytest.approx(0.0, abs=1e-12)
    assert loss == pytest.approx(-(1 - eps) * math.log(1 - eps) - eps * math.log(eps))
    assert min(compute_pair(at - 0.01, eps)[0], compute_pair(at + 0.01, eps)[0]) > loss


def test_wide_gaps_are_trusted_and_no_gap_is_a_toss_up():
    batch = build_batch([build_case([0.0] * 3, [0.9, 0.5, 0.5])])
    eps_GG = compute_smoothing(batch, build_config("rosepo", smoothing_slope=5.0))[0]
    assert eps_GG.dtype == torch.float64
    assert eps_GG[0, 1].item() == pytest.approx(1 / (1 + math.exp(2.0)), abs=1e-12)
    assert eps_GG[1, 2] == 0.5
    assert eps_GG[0, 1] + eps_GG[1, 0] == pytest.approx(1.0)
