from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.evidence.best_of_n import compute_best_of_n

REWARDS = st.lists(st.floats(-10, 10), min_size=1, max_size=8)


def average_over_subsets(rewards: list[float], n: int) -> float:
    return float(np.mean([max(subset) for subset in combinations(rewards, n)]))


def test_by_hand() -> None:
    [curve] = compute_best_of_n([[1.0, 0.0, 0.5]], 3)
    np.testing.assert_allclose(curve, [0.5, 2.5 / 3, 1.0])


@given(REWARDS)
def test_it_is_the_mean_over_all_subsets(rewards: list[float]) -> None:
    [curve] = compute_best_of_n([rewards], len(rewards))
    expected = [average_over_subsets(rewards, n) for n in range(1, len(rewards) + 1)]
    np.testing.assert_allclose(curve, expected, atol=1e-12)
    np.testing.assert_allclose(curve[[0, -1]], [float(np.mean(rewards)), max(rewards)], atol=1e-12)
    assert (np.diff(curve) >= -1e-12).all()


def test_of_right_and_wrong_answers_it_is_pass_at_k() -> None:
    """3 of 10 right: 1 - comb(7, k) / comb(10, k)."""
    [curve] = compute_best_of_n([[1.0] * 3 + [0.0] * 7], 10)
    np.testing.assert_allclose(curve[[0, 1, 4, 9]], [0.3, 1 - 21 / 45, 1 - 21 / 252, 1])


def test_it_is_unbiased_for_answers_that_are_drawn() -> None:
    """The largest of n uniform draws is n / (n + 1) on average."""
    rewards_PN = np.random.default_rng(0).random((10_000, 24))
    curve = compute_best_of_n(rewards_PN).mean(axis=0)
    n = np.arange(1, 21)
    np.testing.assert_allclose(curve, n / (n + 1), atol=0.003)


def test_many_answers_keep_their_digits() -> None:
    [curve] = compute_best_of_n([np.linspace(0, 1, 150).tolist()], 150)
    n = np.arange(1, 151)  # of 0, 1, ..., N - 1: (n (N + 1) / (n + 1) - 1)
    np.testing.assert_allclose(curve, (n * 151 / (n + 1) - 1) / 149, atol=1e-12)


def test_more_than_was_sampled_is_refused() -> None:
    with pytest.raises(ValueError, match=r"best of 20 wants .* not \(2, 8\)"):
        compute_best_of_n(np.zeros((2, 8)))
    with pytest.raises(ValueError, match="best of 0"):
        compute_best_of_n(np.zeros((2, 8)), 0)
    with pytest.raises(ValueError, match="finite"):
        compute_best_of_n([[np.nan, 1.0]], 2)
