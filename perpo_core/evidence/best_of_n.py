"""Best of n: what the best of n answers is worth on average, from N >= n sampled ones.

The mean of the maximum over all subsets of n of the N answers, which is unbiased for n answers
drawn from the policy; the mean over draws with replacement, as in Dodge et al. 2019 (arXiv
1909.03004), is too low. For rewards of 0 and 1 it is pass@k (Chen et al. 2021, arXiv 2107.03374,
equation 1); for any rewards it is the estimator of Tang et al. 2020 (arXiv 2004.13705). The papers
are named from memory; that the formula is the mean over subsets is tested.
"""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

LARGEST_N = 20  # of the paper's lists


def compute_best_of_n(rewards_PN: ArrayLike, largest_n: int = LARGEST_N) -> NDArray[np.float64]:
    """[P, n] expected maximum of 1, 2, ..., largest_n answers of every prompt.

    With r_(1) <= ... <= r_(N), r_(i) is the best of comb(i - 1, n - 1) of the comb(N, n) subsets.
    Of 0, 0.5 and 1: 0.5, (0.5 + 1 + 1) / 3, 1. Raises ValueError if there are fewer answers than
    largest_n, or if a reward is not finite.
    """
    rewards = np.asarray(rewards_PN, dtype=np.float64)
    if rewards.ndim != 2 or not 1 <= largest_n <= rewards.shape[1]:
        raise ValueError(
            f"the best of {largest_n} wants at least as many sampled answers of every prompt, "
            f"not {rewards.shape}; sample more"
        )
    if not np.isfinite(rewards).all():
        raise ValueError("the best of n wants finite rewards; score every answer first")
    weights_nN = _compute_weights(rewards.shape[1], largest_n)
    curve_Pn: NDArray[np.float64] = np.sort(rewards, axis=1) @ weights_nN.T
    return curve_Pn


def _compute_weights(num_answers: int, largest_n: int) -> NDArray[np.float64]:
    """[n, N] share of the subsets of n in which the i-th smallest answer is the largest."""
    # Integers of any size: the binomials of many answers do not fit 64 bits.
    ranks = range(1, num_answers + 1)
    return np.array(
        [
            [comb(i - 1, n - 1) / subsets for i in ranks]
            for n in range(1, largest_n + 1)
            for subsets in [comb(num_answers, n)]
        ]
    )
