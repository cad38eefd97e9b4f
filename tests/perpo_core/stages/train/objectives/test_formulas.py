"""Every loss against its formula: value and gradients, in each dtype, and float64 gradcheck."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from perpo_core.stages.train.objectives import OBJECTIVES, TERMS
from perpo_core.stages.train.objectives.pairs import PAIR_CHOICES
from schemas.train_config import ObjectiveName, PairChoice, TrainConfig
from tests.perpo_core.stages.train.objectives.cases import (
    EXAMPLES,
    LOSSES,
    MANY,
    MAX_TOKENS,
    Case,
    build_batch,
    build_case,
    compute_gradients,
    draw_cases,
    list_configs,
    share_out,
)
from tests.perpo_core.stages.train.objectives.slow import SLOW, compute_slowly

CONFIGS = [(name, config) for name in LOSSES for config in list_configs(name)]
lists_of_cases = st.lists(draw_cases(), min_size=1, max_size=2)


def test_every_name_of_the_configuration_is_there_and_tested() -> None:
    assert set(OBJECTIVES) == set(get_args(ObjectiveName))
    assert set(PAIR_CHOICES) == set(get_args(PairChoice))
    assert set(TERMS) <= set(TrainConfig.model_fields)
    assert set(SLOW) == set(LOSSES)


@pytest.mark.parametrize(("name", "config"), CONFIGS)
@MANY
@given(cases=lists_of_cases)
def test_loss_and_gradients_equal_the_formula(name, config, cases):
    check(name, config, cases, torch.float64, tolerance=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize(("name", "config"), CONFIGS)
@EXAMPLES
@given(cases=lists_of_cases)
def test_so_they_do_in_lower_precision(name, config, dtype, tolerance, cases):
    check(name, config, cases, dtype, tolerance)


def check(
    name: str, config: TrainConfig, cases: list[Case], dtype: torch.dtype, tolerance: float
) -> None:
    batch = build_batch(cases, dtype)
    loss_P = LOSSES[name].compute_loss_P(batch, config)
    gradients = compute_gradients(loss_P.sum(), batch.logps_PG, batch.crop_logps_PG)
    assert loss_P.dtype == dtype and loss_P.shape == (len(cases),)
    for p, case in enumerate(cases):
        loss, slow_gradients = compute_slowly(name, case, config)
        assert_close(loss_P[p].double(), loss, rtol=tolerance, atol=tolerance)
        for ours_PG, slow_G in zip(gradients, slow_gradients, strict=True):
            ours_G, padding = ours_PG[p, : len(slow_G)], ours_PG[p, len(slow_G) :]
            assert_close(ours_G.double(), slow_G, rtol=tolerance, atol=tolerance)
            assert not padding.any()


@pytest.mark.parametrize(("name", "config"), CONFIGS)
def test_gradcheck(name, config):
    cases = [
        build_case([0.3, -1.1, 0.7, 0.2], [0.9, 0.5, 0.5, 0.1]),
        build_case([0.4, -0.2, 1.3], [0.3, 0.8, 0.2], [True, True, False]),
    ]
    batch = build_batch(cases)
    shares_T = torch.zeros(MAX_TOKENS, dtype=torch.float64)
    shares_T[:4] = torch.tensor(share_out(4))

    def evaluate(logps_PG: Tensor, crop_logps_PG: Tensor) -> Tensor:
        moved = replace(
            batch,
            logps_PG=logps_PG,
            crop_logps_PG=crop_logps_PG,
            token_logps_PGT=logps_PG[:, :, None] * shares_T,
        )
        return LOSSES[name].compute_loss_P(moved, config)

    assert batch.crop_logps_PG is not None
    there = [
        part.detach().nan_to_num(0.1).requires_grad_()
        for part in (batch.logps_PG, batch.crop_logps_PG)
    ]
    assert torch.autograd.gradcheck(evaluate, there)


@pytest.mark.parametrize("name", LOSSES)
def test_extreme_log_ratios_stay_finite(name):
    for config in list_configs(name, beta=100.0):
        batch = build_batch([build_case([-1e4, 0.0, 1e4], [1.0, 0.5, 0.0])])
        loss_P = LOSSES[name].compute_loss_P(batch, config)
        gradients = compute_gradients(loss_P.sum(), batch.logps_PG, batch.crop_logps_PG)
        assert torch.isfinite(loss_P).all()
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
