"""Cases worked by hand, and where one objective is another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.stages.train.objectives import ListBatch
from perpo_core.stages.train.objectives.lipo_lambda import compute_lambda_weights
from perpo_core.stages.train.objectives.mrpo import compute_virtual_reference
from perpo_core.stages.train.objectives.pairs import PAIR_CHOICES
from perpo_core.stages.train.objectives.perpo import compute_pair_weights
from tests.perpo_core.stages.train.objectives.cases import (
    EXAMPLES,
    LOSSES,
    MAX_TOKENS,
    Case,
    build_batch,
    build_case,
    build_config,
    compute,
    compute_gradients,
    draw_cases,
)
from tests.perpo_core.stages.train.objectives.slow import compute_slowly

LN2 = math.log(2)
THREE = build_case([0.2, 0.0, -0.1], [0.9, 0.5, 0.1])
CHOSEN = replace(
    THREE, logps=[-0.8, -5.0, -2.1], refs=[-1.0, -5.0, -2.0], closeness=[1.0, 0.6, 0.3],
    popularity=[1.0, 2.0, 2.0],
)  # fmt: skip
LIKE_DPO = ["perpo", "plackett_luce", "sdpo", "rpo"]  # on a list of two
betas = st.floats(0.05, 3)


def approx(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


# The cases of the docstrings, to the digits written there


@pytest.mark.parametrize(
    ("name", "case", "fields", "expected"),
    [
        ("perpo", build_case([0.2, 0.0, -0.1], [0.9, 0.5, 0.5]), {"gamma": 1.0}, 0.576247),
        # Gaps 0.5, 0.8, 0.3 at gamma 1: weights 0.3125, 0.5, 0.1875 over softplus(-1), (-2), (-1).
        ("perpo", build_case([2.0, 1.0, 0.0], [0.9, 0.4, 0.1]), {"gamma": 1.0}, 0.220095),
        ("dpo", THREE, {"pairs": "best_worst"}, 0.554355),
        ("dpo", THREE, {"pairs": "best_rest"}, 0.576247),
        ("dpo", THREE, {"pairs": "adjacent"}, 0.621268),
        ("dpo", THREE, {"pairs": "all"}, 0.598964),
        ("dpo", CHOSEN, {"pairs": "hardest"}, 0.554355),
        ("dpo", CHOSEN, {"pairs": "nearest"}, 0.598139),
        ("dpo", CHOSEN, {"pairs": "popular"}, 0.576247),
        ("plackett_luce", THREE, {}, 1.584228),
        ("sdpo", THREE, {}, 0.939831),
        ("lipo_lambda", build_case([0.2, 0.3, -0.1], [1.0, 0.5, 0.0]), {}, 0.490179),
        ("anchor_weight", build_case([0.3, 0.1], [0.9, 0.5]), {}, 0.554355),
    ],
)
def test_the_case_worked_by_hand(name, case, fields, expected):
    config = build_config(name, beta=1.0, **fields)
    assert compute(name, case, config) == pytest.approx(expected, abs=1e-6)


def test_sft_by_hand():
    case = replace(build_case([-2.0, -4.0, -9.0], [1.0, 1.0, 0.0]), num_tokens=[2, 4, 3])
    assert compute("sft", case, build_config("sft")) == 1.0


@pytest.mark.parametrize(("nll", "expected"), [("averaged", 0.720957), ("cumulative", 0.820957)])
def test_rpo_by_hand(nll, expected):
    case = build_case([-2.0, -3.0], [0.9, 0.1])
    case = replace(case, refs=[-2.2, -2.9], num_tokens=[4, 5])
    config = build_config("rpo", beta=0.5, rpo_eta=0.2, rpo_nll=nll)
    assert compute("rpo", case, config) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"), [("conditional_weight", 0.474077), ("mdpo", 1.626571)]
)
def test_mdpo_by_hand(name, expected):
    case = build_case([0.3, 0.1], [0.9, 0.5])
    case = replace(case, crops=[-3.2, 0.0], ref_crops=[-3.0, 0.0])
    assert compute(name, case, build_config(name, beta=1.0)) == pytest.approx(expected, abs=1e-6)


def test_mrpo_by_hand():
    references_KPG = torch.tensor([[[-2.0, -3.0]], [[-4.0, -3.0]]], dtype=torch.float64)
    virtual_GG = compute_virtual_reference(references_KPG, clip=0.5)[0]
    assert virtual_GG[0, 1].item() == pytest.approx(-2.280930, abs=1e-6)
    assert virtual_GG[1, 0].item() == approx(-3)
    case = build_case([-2.0, -4.0], [1.0, 0.0])
    batch = build_batch([replace(case, refs=[-2.0, -3.0])])
    second_KPG = torch.tensor([[[-4.0, -3.0]]], dtype=torch.float64)
    config = build_config("mrpo", beta=1.0, mrpo_clip=0.5)
    loss = LOSSES["mrpo"].compute_loss_P(replace(batch, extra_ref_logps_KPG=second_KPG), config)
    assert loss.item() == pytest.approx(0.245123, abs=1e-6)


def test_references_that_tell_no_answers_apart_weigh_alike():
    """Clamped to -2 -+ 1/4 * 2: the mean of exp(2) and exp(2.5)."""
    references_KPG = torch.tensor([[[-2.0, -2.0]], [[-4.0, -4.0]]], dtype=torch.float64)
    virtual_GG = compute_virtual_reference(references_KPG, clip=0.5)[0]
    expected = approx(-math.log((math.e**2 + math.e**2.5) / 2))
    assert virtual_GG.flatten().tolist() == [expected] * 4


# One objective is another


@pytest.mark.parametrize("name", LIKE_DPO)
@EXAMPLES
@given(case=draw_cases(2, 2), beta=betas)
def test_on_a_list_of_two_it_is_dpo(name, case, beta):
    fields = {"rpo_eta": 0.0} if name == "rpo" else {}
    loss = compute(name, case, build_config(name, beta=beta, **fields))
    assert loss == approx(compute("dpo", case, build_config("dpo", beta=beta)))


@pytest.mark.parametrize("pairs", PAIR_CHOICES)
@EXAMPLES
@given(case=draw_cases(), beta=betas)
def test_rpo_without_its_likelihood_is_dpo(pairs, case, beta):
    rpo = build_config("rpo", beta=beta, pairs=pairs, rpo_eta=0.0)
    dpo = build_config("dpo", beta=beta, pairs=pairs)
    assert compute("rpo", case, rpo) == approx(compute("dpo", case, dpo))


@pytest.mark.parametrize("pairs", PAIR_CHOICES)
@EXAMPLES
@given(case=draw_cases(), beta=betas)
def test_mrpo_with_the_start_policy_alone_is_dpo(pairs, case, beta):
    batch = build_batch([case])
    alone = torch.zeros(0, *batch.logps_PG.shape, dtype=torch.float64)
    mrpo = build_config("mrpo", beta=beta, pairs=pairs)
    loss = LOSSES["mrpo"].compute_loss_P(replace(batch, extra_ref_logps_KPG=alone), mrpo)
    dpo = build_config("dpo", beta=beta, pairs=pairs)
    assert loss.item() == approx(compute("dpo", case, dpo))


@pytest.mark.parametrize("pairs", PAIR_CHOICES)
@EXAMPLES
@given(case=draw_cases(), clip=st.sampled_from([0.0, 0.1, 1.0]))
def test_mrpo_with_the_same_reference_again_is_dpo(pairs, case, clip):
    mrpo = build_config("mrpo", pairs=pairs, mrpo_clip=clip)
    case = replace(case, extra_refs=[case.refs, case.refs])
    dpo = build_config("dpo", pairs=pairs)
    assert compute("mrpo", case, mrpo) == approx(compute("dpo", case, dpo))


@EXAMPLES
@given(case=draw_cases())
def test_mrpo_does_not_care_which_further_reference_comes_first(case):
    config = build_config("mrpo", pairs="all")
    swapped = replace(case, extra_refs=list(reversed(case.extra_refs)))
    assert compute("mrpo", swapped, config) == approx(compute("mrpo", case, config))


@EXAMPLES
@given(case=draw_cases(), beta=betas)
def test_perpo_with_gamma_zero_is_dpo_on_all_pairs(case, beta):
    perpo = build_config("perpo", beta=beta, gamma=0.0)
    dpo = build_config("dpo", beta=beta, pairs="all")
    assert compute("perpo", case, perpo) == approx(compute("dpo", case, dpo))


@EXAMPLES
@given(case=draw_cases())
def test_averaged_rpo_is_dpo_with_the_likelihood_term(case):
    """With one best answer: of several, the term counts tokens and rpo counts answers."""
    highest = max((case.rewards[i] for i in case.members), default=0.0)
    num_best = sum(case.rewards[i] == highest for i in case.members)
    if num_best != 1 or case.num_rewards < 2:
        return
    nll = compute("nll_weight", case, build_config("dpo"))
    dpo = compute("dpo", case, build_config("dpo"))
    assert compute("rpo", case, build_config("rpo", rpo_eta=0.3)) == approx(dpo + 0.3 * nll)


# TIS-DPO


def build_tokens(case: Case, logps: Sequence[Any], contrasts: Sequence[Any]) -> ListBatch:
    """A list of answers of two tokens each, reference 0."""
    token_logps = torch.tensor([logps], dtype=torch.float64)
    return replace(
        build_batch([replace(case, num_tokens=[2] * len(logps))]),
        token_logps_PGT=token_logps,
        ref_token_logps_PGT=torch.zeros_like(token_logps),
        contrast_PGT=torch.tensor([contrasts], dtype=torch.float64),
    )


def test_tis_dpo_by_hand():
    """Weights (1.5, 0.5) of the better answer and (0.8, 1.2) of the worse."""
    contrasts = [[math.log(1.5), math.log(0.5)], [-math.log(0.8), -math.log(1.2)]]
    batch = build_tokens(build_case([0.1, -0.2], [0.9, 0.1]), [[0.2, -0.1], [0.1, -0.3]], contrasts)
    config = build_config("tis_dpo", beta=0.5, tis_low=-1.0)
    loss = LOSSES["tis_dpo"].compute_loss_P(batch, config)
    assert loss.item() == pytest.approx(0.569400, abs=1e-6)
    assert loss.item() == approx(math.log1p(math.exp(-0.265)))


@pytest.mark.parametrize("tis_pairs", ["alike", "gap"])
@EXAMPLES
@given(case=draw_cases(), beta=betas, scale=st.sampled_from([1.0, 0.5, 3.0]))
def test_tis_dpo_of_equal_policies_is_dpo_with_their_weight_times_beta(
    tis_pairs, case, beta, scale
):
    """And perpo where the gaps weigh."""
    tis = build_config("tis_dpo", beta=beta, tis_scale=scale, tis_pairs=tis_pairs, pairs="adjacent")
    batch = replace(build_batch([case]), contrast_PGT=torch.zeros(1, len(case.logps), MAX_TOKENS))
    loss = LOSSES["tis_dpo"].compute_loss_P(batch, tis).item()
    name, fields = {"alike": ("dpo", {"pairs": "adjacent"}), "gap": ("perpo", {})}[tis_pairs]
    assert loss == approx(compute(name, case, build_config(name, beta=beta * scale, **fields)))


@EXAMPLES
@given(case=draw_cases(), shift=st.sampled_from([-3.0, 0.5, 7.0]))
def test_a_constant_added_to_both_log_probabilities_of_a_token_changes_nothing(case, shift):
    config, batch = build_config("tis_dpo", pairs="all"), build_batch([case])
    moved = replace(
        batch,
        token_logps_PGT=add_to_second(batch.token_logps_PGT, shift),
        ref_token_logps_PGT=add_to_second(batch.ref_token_logps_PGT, shift),
    )
    losses = [LOSSES["tis_dpo"].compute_loss_P(each, config).item() for each in (batch, moved)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-12, abs=1e-12)


def add_to_second(tokens_PGT: Any, shift: float) -> Any:
    return torch.cat([tokens_PGT[:, :, :1], tokens_PGT[:, :, 1:] + shift], dim=2)


def test_a_token_that_did_not_move_gives_its_weight_no_gradient():
    case = build_case([0.1, -0.2], [0.9, 0.1])
    batch = build_tokens(case, [[0.0, 0.1], [0.0, -0.2]], [[0.2] * 2] * 2)
    assert batch.contrast_PGT is not None
    contrast_PGT = batch.contrast_PGT.requires_grad_()
    loss_P = LOSSES["tis_dpo"].compute_loss_P(batch, build_config("tis_dpo"))
    [gradient_PGT] = torch.autograd.grad(loss_P.sum(), [contrast_PGT])
    assert not gradient_PGT[..., 0].any() and gradient_PGT[..., 1].all()


# PerPO


def test_the_released_formula_agrees_on_a_sorted_untied_list():
    """log(1 + exp(-diff)) over i < j, as base_perpo_trainer.py has it."""
    ratios = torch.tensor([0.4, -0.3, 0.1, -0.6], dtype=torch.float64)
    rewards = torch.tensor([0.9, 0.6, 0.3, 0.1], dtype=torch.float64)
    pairs = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    total = sum((rewards[i] - rewards[j]).abs() ** 0.5 for i, j in pairs)
    released = sum(
        (rewards[i] - rewards[j]).abs() ** 0.5
        / total
        * torch.log(1 + torch.exp(-0.1 * (ratios[i] - ratios[j])))
        for i, j in pairs
    )
    case = build_case(ratios.tolist(), rewards.tolist())
    assert compute("perpo", case, build_config("perpo")) == pytest.approx(float(released))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_ties_weigh_nothing(gamma):
    batch = build_batch([build_case([0.0] * 4, [0.9, 0.5, 0.5, 0.1])])
    weights = compute_pair_weights(batch, gamma)
    assert weights[0, 1, 2] == weights[0, 2, 1] == 0
    assert weights.sum().item() == pytest.approx(1)
    if gamma == 0:
        assert weights[weights > 0].tolist() == pytest.approx([1 / 5] * 5)


# At the start, where the policy is the reference


def at_start(case: Case) -> Case:
    return replace(case, logps=case.refs, crops=case.ref_crops, extra_refs=[case.refs] * 2)


@pytest.mark.parametrize("name", ["perpo", "dpo", "mrpo", "anchor_weight", "conditional_weight"])
@EXAMPLES
@given(case=draw_cases(), beta=betas)
def test_the_first_loss_is_ln_2(name, case, beta):
    loss = compute(name, at_start(case), build_config(name, beta=beta))
    assert loss == approx(LN2 if case.num_rewards > 1 else 0.0)


def test_other_first_losses():
    case = at_start(build_case([0.0] * 4, [0.9, 0.6, 0.3, 0.1]))
    assert compute("plackett_luce", case, build_config("plackett_luce")) == approx(math.log(24))
    assert compute("sdpo", case, build_config("sdpo")) == approx(math.log(4))
    assert compute("mdpo", case, build_config("mdpo")) == approx(3 * LN2)


# LiPO-lambda


@pytest.mark.parametrize("ratios", [[0.5, -0.5], [-0.5, 0.5], [0.0, 0.0]])
def test_lipo_lambda_is_dpo_times_053_on_a_list_of_two(ratios):
    case = build_case(ratios, [1.0, 0.0])
    dpo = compute("dpo", case, build_config("dpo"))
    loss = compute("lipo_lambda", case, build_config("lipo_lambda"))
    assert loss == approx((1 / LN2 - 1 / math.log(3)) * dpo)


def test_lipo_lambda_has_a_gradient_at_the_start():
    """Mean ranks for tied scores would weigh every pair 0: training would never begin."""
    batch = build_batch([build_case([0.0] * 4, [0.9, 0.6, 0.3, 0.1])])
    loss_P = LOSSES["lipo_lambda"].compute_loss_P(batch, build_config("lipo_lambda"))
    [gradient_PG] = compute_gradients(loss_P.sum(), batch.logps_PG)
    assert gradient_PG[0, 0] < -0.01 and gradient_PG[0, 3] > 0.01
    # All pairs of ranks are as likely: the weights differ by gain alone.
    weights_GG = compute_lambda_weights(batch)[0]
    gains = [2**reward for reward in (0.9, 0.6, 0.3, 0.1)]
    assert weights_GG[0, 1] / weights_GG[0, 3] == approx(
        (gains[0] - gains[1]) / (gains[0] - gains[3])
    )


@pytest.mark.parametrize(
    "ratios",
    [[0.0] * 5, [1.0, 1.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0, 0.0]],
)
def test_lipo_lambda_takes_the_mean_over_the_orders_that_tied_scores_allow(ratios):
    case = build_case(ratios, [0.9, 0.1, 0.6, 0.3, 0.8][: len(ratios)])
    config = build_config("lipo_lambda")
    loss, _ = compute_slowly("lipo_lambda", case, config)
    assert compute("lipo_lambda", case, config) == approx(loss.item())


# Pairs


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("best_worst", {(0, 4), (1, 4)}),
        ("best_rest", {(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)}),
        ("adjacent", {(0, 2), (0, 3), (1, 2), (1, 3), (2, 4), (3, 4)}),
        ("all", {(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 4), (3, 4)}),
        ("hardest", {(0, 3), (0, 4), (1, 3), (1, 4)}),
        ("nearest", {(0, 3), (0, 4), (1, 3), (1, 4)}),
        ("popular", {(0, 2), (1, 2)}),
    ],
)
def test_the_pairs_of_a_list_with_ties(choice, expected):
    case = build_case([0.0] * 6, [0.9, 0.9, 0.5, 0.5, 0.1, 0.0], [True] * 5 + [False])
    case = replace(
        case,
        refs=[-1, -2, -9, -5, -5, -1],
        closeness=[1, 1, 0.2, 0.4, 0.4, 0.9],
        popularity=[3, 3, 2, 1, 1, 3],
    )
    pairs_PGG = PAIR_CHOICES[choice](build_batch([case]))
    assert {(i, j) for _, i, j in pairs_PGG.nonzero().tolist()} == expected
