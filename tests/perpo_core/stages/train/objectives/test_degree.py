"""SPO's degree loss against its formula, by what it alone reads: logits of degrees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from perpo_core.stages.train.objectives.combine import compute_loss_P, compute_loss_parts
from perpo_core.stages.train.objectives.terms.degree import compute_degree_loss
from schemas.train_config import TrainConfig
from tests.perpo_core.stages.train.objectives.cases import (
    EXAMPLES,
    MANY,
    NUM_DEGREES,
    Case,
    build_batch,
    build_case,
    draw_cases,
)

CONFIG = TrainConfig()
LISTS = st.lists(draw_cases(), min_size=1, max_size=3)


def compute_slowly(case: Case, logits: Sequence[Sequence[Tensor]]) -> Tensor:
    """The formula as it stands, over scalars that carry gradients."""
    losses = []
    for row, degree in zip(logits, case.degrees, strict=True):
        total = sum(torch.exp(logit) for logit in row)
        losses.append(-torch.log(torch.exp(row[degree]) / total))
    if not losses or not case.members:
        return 0.0 * sum([logit for row in logits for logit in row], torch.zeros(()))
    return sum(losses, torch.zeros(())) / len(losses)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5), (torch.bfloat16, 3e-2)]
)
@MANY
@given(cases=LISTS)
def test_loss_and_gradients_equal_the_formula(dtype, tolerance, cases):
    batch = build_batch(cases, dtype)
    assert batch.degree_logits_PVD is not None
    loss_P = compute_degree_loss(batch, CONFIG)
    (gradient_PVD,) = torch.autograd.grad(loss_P.sum(), batch.degree_logits_PVD)
    for p, case in enumerate(cases):
        logits = [[torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in row]
                  for row in case.degree_logits]  # fmt: skip
        loss = compute_slowly(case, logits)
        assert_close(loss_P[p].double(), loss.detach().double(), rtol=tolerance, atol=tolerance)
        if loss.requires_grad:
            loss.backward()
        for v, row in enumerate(logits):
            expected = torch.stack([logit.grad for logit in row if logit.grad is not None])
            assert_close(gradient_PVD[p, v].double(), expected, rtol=tolerance, atol=tolerance)
        assert not gradient_PVD[p, len(logits) :].any(), "padding has no gradient"


def test_gradcheck():
    batch = build_batch([build_case([0.3, -0.2], [0.9, 0.1])])
    assert batch.degree_logits_PVD is not None
    inputs = batch.degree_logits_PVD.detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda logits: compute_degree_loss(replace(batch, degree_logits_PVD=logits), CONFIG), inputs
    )


@pytest.mark.parametrize("num_degrees", [2, 4, 7])
def test_zero_logits_give_ln_d(num_degrees):
    case = build_case([0.3, -0.2], [0.9, 0.1])
    batch = replace(
        build_batch([case]),
        degree_logits_PVD=torch.zeros(1, num_degrees, num_degrees, dtype=torch.float64),
        degrees_PV=torch.arange(num_degrees)[None],
    )
    loss = compute_degree_loss(batch, CONFIG).item()
    assert loss == pytest.approx(math.log(num_degrees), rel=1e-15)
    assert num_degrees != 4 or loss == pytest.approx(1.386294, abs=1e-6)


def test_by_hand():
    """softplus(-1) and softplus(1), halved; as in the docstring."""
    logits = torch.tensor([[[0.5, -0.5], [1.0, 0.0]]], dtype=torch.float64)
    batch = replace(
        build_batch([build_case([0.3], [0.9])]),
        degree_logits_PVD=logits,
        degrees_PV=torch.tensor([[0, 1]]),
    )
    assert compute_degree_loss(batch, CONFIG).item() == pytest.approx(0.813262, abs=1e-6)


def test_a_list_without_versions_has_no_loss_and_no_gradient():
    """Beside one that has some, and alone."""
    some = build_case([0.3, -0.2], [0.9, 0.1])
    none = replace(some, degree_logits=(), degrees=())
    for cases, row in (([some, none], 1), ([none], 0)):
        batch = build_batch(cases)
        loss_P = compute_degree_loss(batch, CONFIG)
        assert loss_P[row].item() == 0 and loss_P.requires_grad
        assert batch.degree_logits_PVD is not None
        (gradient_PVD,) = torch.autograd.grad(loss_P[row], batch.degree_logits_PVD)
        assert not gradient_PVD.any()


@EXAMPLES
@given(case=draw_cases(min_size=2), shift=st.floats(-30, 30))
def test_it_neither_reads_rewards_nor_likelihoods_nor_what_all_logits_share(case, shift):
    moved = replace(
        case,
        rewards=[9 * reward - 3 for reward in reversed(case.rewards)],
        logps=[logp - 1 for logp in case.logps],
        refs=[2 * ref for ref in case.refs],
        degree_logits=[[logit + shift for logit in row] for row in case.degree_logits],
    )
    losses = [compute_degree_loss(build_batch([each]), CONFIG).item() for each in (case, moved)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("objective", ["perpo", "dpo", "sft", "tis_dpo"])
@EXAMPLES
@given(cases=LISTS)
def test_weight_0_is_the_alignment_loss_to_the_last_bit(objective, cases):
    """Whatever the head says, and where there is none."""
    batch, config = build_batch(cases), TrainConfig(objective=objective, degree_weight=0.0)
    bare = replace(batch, degree_logits_PVD=None, degrees_PV=None)
    expected_P = compute_loss_P(bare, TrainConfig(objective=objective))
    assert torch.equal(compute_loss_P(batch, config), expected_P)
    parts = compute_loss_parts(batch, TrainConfig(objective=objective, degree_weight=0.5))
    assert torch.equal(parts[objective], expected_P)


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[[1e4, -1e4, 0.0]]], dtype=torch.float32, requires_grad=True)
    batch = replace(
        build_batch([build_case([0.3], [0.9])]), degree_logits_PVD=logits,
        degrees_PV=torch.tensor([[1]]),
    )  # fmt: skip
    loss = compute_degree_loss(batch, CONFIG).sum()
    loss.backward()
    assert loss.item() == 2e4 and logits.grad is not None and torch.isfinite(logits.grad).all()
    assert logits.shape[-1] == NUM_DEGREES
