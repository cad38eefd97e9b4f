"""The PerPO loss against the paper: method facts, hand-worked numbers, a slow loop, gradcheck."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from perpo_core.objectives import OBJECTIVES, ListBatch
from perpo_core.objectives.perpo import compute_pair_weights, compute_perpo_loss
from schemas.config import TrainConfig

LN2 = math.log(2)


def build_batch(
    log_ratios: list[list[float]], rewards: list[list[float]], mask: list[list[bool]] | None = None
) -> ListBatch:
    ratios_PG = torch.tensor(log_ratios, dtype=torch.float64)
    return ListBatch(
        logps_PG=ratios_PG,
        ref_logps_PG=torch.zeros_like(ratios_PG),
        rewards_PG=torch.tensor(rewards, dtype=torch.float64),
        mask_PG=torch.tensor(mask) if mask else torch.ones_like(ratios_PG, dtype=torch.bool),
        num_tokens_PG=torch.full(ratios_PG.shape, 4),
    )


def get_gradient(batch: ListBatch) -> Tensor:
    assert batch.logps_PG.grad is not None
    return batch.logps_PG.grad


def compute_slowly(
    log_ratios: list[float], rewards: list[float], mask: list[bool], beta: float, gamma: float
) -> float:
    """Equation 6 as two loops."""
    members = [i for i, there in enumerate(mask) if there]
    pairs = [(i, j) for i in members for j in members if rewards[i] > rewards[j]]
    normaliser = sum((rewards[i] - rewards[j]) ** gamma for i, j in pairs)
    loss = 0.0
    for i, j in pairs:
        weight = (rewards[i] - rewards[j]) ** gamma / normaliser
        loss -= weight * math.log(1 / (1 + math.exp(-beta * (log_ratios[i] - log_ratios[j]))))
    return loss


values = st.floats(-5, 5, allow_nan=False, width=32)
reward_values = st.integers(0, 20).map(lambda n: n / 20)
groups = st.integers(2, 7).flatmap(
    lambda size: st.tuples(
        st.lists(values, min_size=size, max_size=size),
        st.lists(reward_values, min_size=size, max_size=size),
        st.lists(st.booleans(), min_size=size, max_size=size),
    )
)


@given(groups, st.floats(0.05, 3), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_loss_equals_the_formula(group, beta, gamma):
    ratios, rewards, mask = group
    config = TrainConfig(beta=beta, gamma=gamma)
    loss = compute_perpo_loss(build_batch([ratios], [rewards], [mask]), config)
    assert loss.item() == pytest.approx(
        compute_slowly(ratios, rewards, mask, beta, gamma), rel=1e-9, abs=1e-12
    )


def test_the_case_worked_by_hand_in_the_docstring():
    batch = build_batch([[0.2, 0.0, -0.1]], [[0.9, 0.5, 0.5]])
    loss = compute_perpo_loss(batch, TrainConfig(beta=1.0, gamma=1.0))
    assert loss.item() == pytest.approx(0.576247, abs=1e-6)


def test_unequal_gaps_worked_by_hand():
    # Gaps 0.5, 0.8, 0.3 at gamma 1: weights 0.3125, 0.5, 0.1875 over softplus(-1), (-2), (-1).
    batch = build_batch([[2.0, 1.0, 0.0]], [[0.9, 0.4, 0.1]])
    loss = compute_perpo_loss(batch, TrainConfig(beta=1.0, gamma=1.0))
    expected = 0.5 * math.log1p(math.exp(-1)) + 0.5 * math.log1p(math.exp(-2))
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@given(groups, st.floats(0.01, 10), st.sampled_from([0.0, 0.5, 1.0]))
def test_loss_is_ln2_when_the_policy_is_the_reference(group, beta, gamma):
    _, rewards, _ = group
    batch = build_batch([[0.0] * len(rewards)], [rewards])
    loss = compute_perpo_loss(batch, TrainConfig(beta=beta, gamma=gamma)).item()
    assert loss == pytest.approx(LN2 if len(set(rewards)) > 1 else 0.0, rel=1e-12)


@given(values, values, st.floats(0.01, 5), st.sampled_from([0.0, 0.5, 1.0]))
def test_a_list_of_two_is_dpo(chosen, rejected, beta, gamma):
    batch = build_batch([[rejected, chosen]], [[0.1, 0.7]])
    loss = compute_perpo_loss(batch, TrainConfig(beta=beta, gamma=gamma))
    margin = torch.tensor(beta * (chosen - rejected), dtype=torch.float64)
    dpo = -torch.nn.functional.logsigmoid(margin)
    assert loss.item() == pytest.approx(dpo.item(), abs=1e-6)


@given(groups, st.floats(0.01, 100), st.floats(-10, 10), st.sampled_from([0.0, 0.5, 2.0]))
def test_an_affine_change_of_rewards_changes_nothing(group, scale, shift, gamma):
    ratios, rewards, mask = group
    config = TrainConfig(gamma=gamma)
    moved = [scale * reward + shift for reward in rewards]
    first = compute_perpo_loss(build_batch([ratios], [rewards], [mask]), config)
    second = compute_perpo_loss(build_batch([ratios], [moved], [mask]), config)
    assert second.item() == pytest.approx(first.item(), rel=1e-6, abs=1e-9)


@given(groups, st.randoms(use_true_random=False))
def test_the_order_of_a_list_changes_nothing(group, random):
    rows = list(zip(*group, strict=True))
    random.shuffle(rows)
    shuffled = [list(column) for column in zip(*rows, strict=True)]
    first = compute_perpo_loss(build_batch(*([part] for part in group)), TrainConfig())
    second = compute_perpo_loss(build_batch(*([part] for part in shuffled)), TrainConfig())
    assert second.item() == pytest.approx(first.item(), rel=1e-12, abs=1e-15)


@given(groups)
def test_padding_changes_nothing(group):
    ratios, rewards, mask = group
    padded = build_batch([[*ratios, 99.0]], [[*rewards, 7.0]], [[*mask, False]])
    plain = build_batch([ratios], [rewards], [mask])
    first, second = (compute_perpo_loss(batch, TrainConfig()) for batch in (padded, plain))
    assert first.item() == pytest.approx(second.item(), rel=1e-12, abs=0)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_ties_weigh_nothing(gamma):
    weights = compute_pair_weights(
        torch.tensor([[0.9, 0.5, 0.5, 0.1]]), torch.ones(1, 4, dtype=torch.bool), gamma
    )
    assert weights[0, 1, 2] == weights[0, 2, 1] == 0
    assert weights.sum().item() == pytest.approx(1)


def test_gamma_zero_weighs_pairs_of_different_rewards_alike():
    weights = compute_pair_weights(
        torch.tensor([[0.9, 0.5, 0.5, 0.1]]), torch.ones(1, 4, dtype=torch.bool), 0.0
    )
    assert weights[weights > 0].tolist() == pytest.approx([1 / 5] * 5)


@pytest.mark.parametrize(
    ("rewards", "mask"),
    [
        ([0.5, 0.5, 0.5], [True, True, True]),
        ([0.1, 0.5, 0.9], [True, False, False]),
        ([0.1, 0.5, 0.9], [False, False, False]),
    ],
    ids=["all tied", "singleton", "all masked"],
)
def test_lists_without_a_pair_have_no_loss_and_no_gradient(rewards, mask):
    batch = build_batch([[1.0, -2.0, 3.0]], [rewards], [mask])
    batch.logps_PG.requires_grad_()
    loss = compute_perpo_loss(batch, TrainConfig())
    loss.sum().backward()
    assert loss.item() == 0
    assert get_gradient(batch).tolist() == [[0.0, 0.0, 0.0]]


def test_extreme_log_ratios_stay_finite():
    batch = build_batch([[-1e4, 1e4]], [[1.0, 0.0]])
    batch.logps_PG.requires_grad_()
    loss = compute_perpo_loss(batch, TrainConfig(beta=1.0))
    loss.sum().backward()
    assert loss.item() == pytest.approx(2e4)
    assert torch.isfinite(get_gradient(batch)).all()


def test_the_released_formula_agrees_on_a_sorted_untied_list():
    """log(1 + exp(-diff)) over i < j, as base_perpo_trainer.py has it."""
    ratios = torch.tensor([0.4, -0.3, 0.1, -0.6], dtype=torch.float64)
    rewards = torch.tensor([0.9, 0.6, 0.3, 0.1], dtype=torch.float64)
    total = sum((rewards[i] - rewards[j]) ** 0.5 for i in range(4) for j in range(i + 1, 4))
    released = sum(
        (rewards[i] - rewards[j]) ** 0.5
        / total
        * torch.log(1 + torch.exp(-0.1 * (ratios[i] - ratios[j])))
        for i in range(4)
        for j in range(i + 1, 4)
    )
    batch = build_batch([ratios.tolist()], [rewards.tolist()])
    assert compute_perpo_loss(batch, TrainConfig()).item() == pytest.approx(float(released))


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_gradcheck(name, gamma):
    rewards_PG = torch.tensor([[0.9, 0.5, 0.5, 0.1], [0.3, 0.8, 0.2, 0.0]], dtype=torch.float64)
    mask_PG = torch.tensor([[True] * 4, [True, True, True, False]])
    config = TrainConfig(gamma=gamma, beta=0.7)

    def compute(logps_PG: Tensor) -> Tensor:
        batch = ListBatch(
            logps_PG, torch.full_like(logps_PG, -1.0), rewards_PG, mask_PG, mask_PG * 3
        )
        return OBJECTIVES[name].compute_loss_P(batch, config)

    torch.manual_seed(0)
    logps_PG = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(compute, logps_PG)


@settings(max_examples=30)
@given(groups, st.floats(0.1, 10), st.floats(-3, 3))
def test_declared_invariances_hold(group, scale, shift):
    ratios, rewards, mask = group
    moved = [scale * reward + shift for reward in rewards]
    for objective in OBJECTIVES.values():
        if objective.reward_affine_invariant:
            first, second = (
                objective.compute_loss_P(build_batch([ratios], [r], [mask]), TrainConfig())
                for r in (rewards, moved)
            )
            assert second.item() == pytest.approx(first.item(), rel=1e-6, abs=1e-9)


def test_sft_case_worked_by_hand_in_the_docstring():
    batch = ListBatch(
        logps_PG=torch.tensor([[-2.0, -4.0, -9.0]]),
        ref_logps_PG=torch.zeros(1, 3),
        rewards_PG=torch.tensor([[1.0, 1.0, 0.0]]),
        mask_PG=torch.ones(1, 3, dtype=torch.bool),
        num_tokens_PG=torch.tensor([[2, 4, 3]]),
    )
    assert OBJECTIVES["sft"].compute_loss_P(batch, TrainConfig()).item() == 1.0
