from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from perpo_core.evidence.calibration import (
    compute_auc,
    compute_calibration,
    compute_rank_correlations,
)

ONES = np.ones((2, 3), dtype=int)
# Few values, so that ties are common.
NUMBERS = st.lists(st.tuples(st.integers(0, 4), st.integers(-4, 0)), min_size=2, max_size=12).map(
    np.array
)


def test_by_hand() -> None:
    """Ranks (1, 2, 3) against (1, 3, 2): 1 - 6 x 2 / (3 x 8); (1, 3, 2) against (3, 2, 1): -0.5.

    Good are the rewards 0.5, 0.9, 0.8 at -2, -3 and -6; the others lie at -9, -5 and -7: of nine
    pairs the good one is above in 3 + 3 + 2.
    """
    rewards = [[0.1, 0.5, 0.9], [0.2, 0.8, 0.3]]
    logps = [[-9.0, -2.0, -3.0], [-5.0, -6.0, -7.0]]
    found = compute_calibration(rewards, logps, ONES)
    assert found.spearman == pytest.approx((0.5 - 0.5) / 2)
    assert found.auc == pytest.approx(8 / 9)
    assert (found.prompts, found.prompts_left_out, found.answers) == (2, 0, 6)
    assert found.good_share == 0.5


def test_tokens_are_means_and_not_sums() -> None:
    """The better answer is longer: less likely as a whole, likelier by the token."""
    found = compute_calibration([[0.0, 1.0]], [[-4.0, -6.0]], [[2, 6]])
    assert [found.spearman, found.spearman_per_token] == pytest.approx([-1, 1])
    assert (found.auc, found.auc_per_token) == (0, 1)


def test_prompts_without_an_order_are_left_out_and_counted() -> None:
    rewards = [[0.0, 1.0], [1.0, 1.0], [0.0, 1.0]]
    found = compute_calibration(
        rewards, [[-2.0, -1.0], [-2.0, -1.0], [-1.0, -1.0]], np.ones((3, 2))
    )
    assert found.spearman == pytest.approx(1)
    assert (found.prompts, found.prompts_left_out) == (1, 2)
    none = compute_calibration([[1.0, 1.0]], [[-1.0, -2.0]], [[1, 1]])
    assert (none.spearman, none.auc, none.prompts_left_out) == (None, None, 1)
    by_length = compute_calibration([[0.0, 1.0]], [[-1.0, -2.0]], [[1, 2]])
    assert (by_length.prompts, by_length.prompts_per_token) == (1, 0)
    assert by_length.prompts_left_out_per_token == 1


@given(NUMBERS)
def test_rank_correlation_is_scipys(pairs: np.ndarray) -> None:
    rewards, logps = pairs.T.astype(float)
    [found] = compute_rank_correlations(rewards[None], logps[None])
    if np.ptp(rewards) and np.ptp(logps):
        assert found == pytest.approx(spearmanr(rewards, logps).statistic, abs=1e-12)
    else:
        assert np.isnan(found)


@given(NUMBERS)
def test_auc_is_the_share_of_pairs(pairs: np.ndarray) -> None:
    good, scores = pairs[:, 0] >= 2, pairs[:, 1].astype(float)
    higher = [
        (mine > other) + 0.5 * (mine == other) for mine in scores[good] for other in scores[~good]
    ]
    assert compute_auc(good, scores) == (pytest.approx(np.mean(higher)) if higher else None)


@given(NUMBERS)
def test_only_the_order_counts(pairs: np.ndarray) -> None:
    rewards, logps = pairs.T.astype(float)
    np.testing.assert_allclose(
        compute_rank_correlations(rewards[None], logps[None]),
        compute_rank_correlations(np.exp(rewards)[None], 3 * logps[None] - 1),
    )


@pytest.mark.parametrize(
    ("rewards", "logps", "counts", "problem"),
    [
        ([[1.0, 0.0]], [[-1.0]], [[1, 1]], "every answer"),
        ([1.0, 0.0], [-1.0, -1.0], [1, 1], "every answer"),
        ([[1.0, np.nan]], [[-1.0, -1.0]], [[1, 1]], "finite"),
        ([[1.0, 0.0]], [[-1.0, -np.inf]], [[1, 1]], "finite"),
        ([[1.0, 0.0]], [[-1.0, -1.0]], [[1, 0]], "at least one token"),
    ],
)
def test_what_cannot_be_calibrated(
    rewards: list[float], logps: list[float], counts: list[int], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        compute_calibration(rewards, logps, counts)
