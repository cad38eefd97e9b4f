"""Pairwise policy gradients: by hand, at the sampling policy, and at the edges of the clip."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from perpo_core.stages.train.objectives.p3o import GAINS, MAX_LOG_RATIO
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

CLIPS = list(GAINS)
HAND = build_case([0.3, -0.1], [0.9, 0.1])  # u, R
KL_WEIGHTS = st.sampled_from([0.0, 0.3])


def differentiate(case: Case, **fields: Any) -> Tensor:
    """dL / d log pi(y_i): [G]."""
    batch = build_batch([case])
    loss_P = LOSSES["p3o"].compute_loss_P(batch, build_config("p3o", **fields))
    return compute_gradients(loss_P.sum(), batch.logps_PG)[0][0]


def compute_totals(case: Case, kl_weight: float) -> dict[int, float]:
    penalties = {i: case.samplers[i] - case.refs[i] for i in case.members}
    return {i: case.rewards[i] - kl_weight * penalties[i] for i in case.members}


@pytest.mark.parametrize(("clip", "expected"), [("joint", -0.08), ("separate", -0.118065)])
def test_by_hand(clip, expected):
    config = build_config("p3o", clip=clip, clip_range=0.2)
    assert compute("p3o", HAND, config) == pytest.approx(expected, abs=1e-6)


def test_the_penalty_by_hand():
    """R = (0.9 - 0.5 * 0.4, 0.1 + 0.5 * 0.2) = (0.7, 0.2), A = 0.25, and d = 0.1 is in range."""
    case = replace(HAND, samplers=[-1.0, -2.0], refs=[-1.4, -1.8], logps=[-0.9, -2.0])
    config = build_config("p3o", clip="joint", clip_range=0.2, kl_weight=0.5)
    assert compute("p3o", case, config) == pytest.approx(-0.025, abs=1e-12)


# At the policy that sampled


@pytest.mark.parametrize("clip", CLIPS)
@EXAMPLES
@given(case=draw_cases(), kl_weight=KL_WEIGHTS)
def test_there_it_is_leave_one_out_reinforce(clip, case, kl_weight):
    gradient_G = differentiate(replace(case, logps=case.samplers), clip=clip, kl_weight=kl_weight)
    totals = compute_totals(case, kl_weight)
    size, expected = len(totals), torch.zeros_like(gradient_G)
    for i, total in totals.items():
        if size > 1:
            expected[i] = -(total - sum(totals.values()) / size) / (size - 1)
    assert torch.allclose(gradient_G, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("clip", CLIPS)
@EXAMPLES
@given(case=draw_cases(2, 2), kl_weight=KL_WEIGHTS)
def test_there_a_pair_pulls_by_half_its_advantage(clip, case, kl_weight):
    gradient_G = differentiate(replace(case, logps=case.samplers), clip=clip, kl_weight=kl_weight)
    totals = compute_totals(case, kl_weight)
    pull = (totals[0] - totals[1]) / 2 if len(totals) == 2 else 0.0
    assert gradient_G.tolist() == pytest.approx([-pull, pull], abs=1e-12)


@pytest.mark.parametrize("clip", CLIPS)
@EXAMPLES
@given(case=draw_cases())
def test_there_the_loss_is_0(clip, case):
    start = replace(case, logps=case.samplers)
    config = build_config("p3o", clip=clip)
    assert compute("p3o", start, config) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("clip", CLIPS)
def test_on_average_over_draws_it_is_the_gradient_of_the_expected_reward(clip):
    """Three answers, every pair of draws as often as the policy says: grad E[r] by the logits."""
    logits_A = torch.tensor([0.3, -0.6, 0.1], dtype=torch.float64, requires_grad=True)
    rewards_A = torch.tensor([0.2, 0.9, 0.5], dtype=torch.float64)
    logps_A = logits_A.log_softmax(0)
    [expected_A] = torch.autograd.grad((logps_A.exp() * rewards_A).sum(), logits_A)
    config, total = build_config("p3o", clip=clip), torch.zeros(())
    for a in range(3):
        for b in range(3):
            drawn = [a, b]
            case = build_case([0.0, 0.0], rewards_A[drawn].tolist())
            batch = replace(
                build_batch([case]),
                logps_PG=logits_A.log_softmax(0)[None, drawn],
                sampler_logps_PG=logps_A.detach()[None, drawn],
            )
            odds = logps_A.detach()[drawn].sum().exp()
            total = total + odds * LOSSES["p3o"].compute_loss_P(batch, config).sum()
    [gradient_A] = torch.autograd.grad(total, logits_A)
    assert torch.allclose(-gradient_A, expected_A, rtol=1e-12, atol=1e-12)


# Clipped


@pytest.mark.parametrize(
    ("ratios", "clip", "moves"),
    [
        ([0.5, 0.0], "joint", [False, False]),  # the better one is ahead by more than 0.2
        ([0.15, 0.0], "joint", [True, True]),
        ([-0.5, 0.0], "joint", [True, True]),  # behind: never clipped
        ([0.5, 0.0], "separate", [False, True]),
        ([0.0, -0.5], "separate", [True, False]),
        ([0.5, -0.5], "separate", [False, False]),
        ([-0.5, 0.5], "separate", [True, True]),
    ],
)
def test_what_has_gone_far_enough_pulls_no_more(ratios, clip, moves):
    gradient_G = differentiate(build_case(ratios, [0.9, 0.1]), clip=clip, clip_range=0.2)
    assert (gradient_G != 0).tolist() == moves
    assert gradient_G[0] <= 0 <= gradient_G[1]


@pytest.mark.parametrize("clip", CLIPS)
@EXAMPLES
@given(case=draw_cases(), pairs=st.sampled_from(["best_worst", "all"]))
def test_equal_rewards_pull_nothing(clip, case, pairs):
    tied = replace(case, rewards=[0.5] * len(case.rewards))
    assert compute("p3o", tied, build_config("p3o", clip=clip, pairs=pairs)) == 0
    assert not differentiate(tied, clip=clip).any()


@pytest.mark.parametrize("clip", CLIPS)
def test_equal_rewards_are_told_apart_by_their_penalty(clip):
    tied = replace(build_case([0.0, 0.0], [0.5, 0.5]), refs=[0.0, -1.0])
    assert differentiate(tied, clip=clip, kl_weight=0.4).tolist() == pytest.approx([-0.2, 0.2])


def test_a_ratio_beyond_all_bounds_counts_as_the_bound():
    case = build_case([0.0, 1e4], [0.9, 0.1])
    config = build_config("p3o", clip="separate", clip_range=0.2)
    assert compute("p3o", case, config) == pytest.approx(0.4 * (math.exp(MAX_LOG_RATIO) - 1))
