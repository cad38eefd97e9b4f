"""How well log-probabilities rank answers: pure functions of one list, and of many answers.

Axes: G answers of a list, A answers of all lists. Log-probabilities are of whole answers, nats;
rewards are whatever the configuration rewards with. What is undefined is None, never a number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
GOOD_REWARD = 0.5  # from which on an answer counts as right in the AUC; IoU's usual threshold


def compute_pairs_in_order(logps_G: ArrayLike, rewards_G: ArrayLike) -> float | None:
    """Share of the pairs of different rewards whose better answer is the likelier one.

    Equally likely ones count half. 1/2 by chance. None without such a pair.
    """
    logps, rewards = _as_pairs(logps_G), _as_pairs(rewards_G)
    is_pair = rewards > 0
    if not is_pair.any():
        return None
    return float((np.sign(logps[is_pair]) * 0.5 + 0.5).mean())


def _as_pairs(values_G: ArrayLike) -> Values:
    """[G, G] value of the row's answer less the column's."""
    values = np.asarray(values_G, dtype=np.float64)
    return values[:, None] - values[None, :]


def compute_tau(logps_G: ArrayLike, rewards_G: ArrayLike) -> float | None:
    """Kendall's tau-b (Kendall 1945), which makes up for ties; None where all are tied."""
    from scipy.stats import kendalltau  # slow to import

    return _or_none(kendalltau(logps_G, rewards_G, variant="b").statistic)


def compute_ndcg(logps_G: ArrayLike, rewards_G: ArrayLike) -> float | None:
    """Normalised discounted cumulative gain of the answers in order of their likelihood.

    DCG = sum over ranks k = 1, 2, ... of gain_k / log2(1 + k) (Jaervelin and Kekaelaeinen 2002),
    with the reward itself as gain (not 2^reward - 1); divided by that of the best order. Equally
    likely answers share the mean of their gains (McSherry and Najork 2008). None where a reward is
    below 0, or all are 0.
    """
    logps = np.asarray(logps_G, dtype=np.float64)
    gains = np.asarray(rewards_G, dtype=np.float64)
    discounts = 1 / np.log2(np.arange(2, len(gains) + 2))
    best = float(np.sort(gains)[::-1] @ discounts)
    if gains.min(initial=0.0) < 0 or best == 0:
        return None
    _, tie_G = np.unique(-logps, return_inverse=True)
    mean_of_tie = np.bincount(tie_G, gains) / np.bincount(tie_G)
    return float(mean_of_tie[np.sort(tie_G)] @ discounts) / best


def compute_margin(logps_G: ArrayLike, rewards_G: ArrayLike) -> float:
    """log p(best) - log p(worst), nats; of answers that share the best or the worst, the mean."""
    logps = np.asarray(logps_G, dtype=np.float64)
    rewards = np.asarray(rewards_G, dtype=np.float64)
    best, worst = (logps[rewards == end(rewards)] for end in (np.max, np.min))
    return float(best.mean() - worst.mean())


def compute_spearman(values_A: ArrayLike, rewards_A: ArrayLike) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None where either is constant."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) for values in (values_A, rewards_A)]
    if any(np.ptp(each) == 0 for each in ranks if len(each)) or len(ranks[0]) < 2:
        return None
    return _or_none(np.corrcoef(*ranks)[0, 1])


def compute_auc(values_A: ArrayLike, rewards_A: ArrayLike) -> float | None:
    """How often an answer with a reward of at least 1/2 has a higher value than one below.

    Area under the ROC curve; equal values count half, 1/2 by chance. None where all answers lie on
    one side.
    """
    from scipy.stats import rankdata

    is_good = np.asarray(rewards_A, dtype=np.float64) >= GOOD_REWARD
    num_good, num_bad = int(is_good.sum()), int((~is_good).sum())
    if not num_good or not num_bad:
        return None
    sum_good = float(rankdata(values_A)[is_good].sum())  # Mann-Whitney's U and a constant
    return (sum_good - num_good * (num_good + 1) / 2) / (num_good * num_bad)


def normalise_lengths(logps_A: Sequence[float], lengths_A: Sequence[int]) -> list[float]:
    """Log-probability a token, end token included, nats."""
    return [logp / length for logp, length in zip(logps_A, lengths_A, strict=True)]


def _or_none(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
