"""Calibration: does the log-probability that the policy gives an answer predict its reward.

Two questions. Within a prompt: do likelier answers earn more (Spearman's rank correlation, mean
over prompts)? Over all answers: does the log-probability tell good ones from the others (the area
under the ROC curve)? Both of the whole answer, in nats, and of the mean of its tokens, since a
longer answer is less likely whatever it says.

Left out: the expected calibration error. The probability of an answer is that of these very tokens;
many boxes are right, each with a small probability, so that it is not the policy's confidence in
being right, and comparing it with a share of right answers would measure how many ways there are
to say so.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from schemas.evidence_statistics import Calibration

GOOD_REWARD = 0.5
Values = NDArray[np.float64]


def compute_calibration(
    rewards_PN: ArrayLike, logps_PN: ArrayLike, token_counts_PN: ArrayLike
) -> Calibration:
    """Rewards against log-probabilities (sums over tokens, nats) of N sampled answers a prompt.

    Raises ValueError if shapes differ, a number is not finite, or an answer has no token.
    """
    rewards, logps = np.asarray(rewards_PN, dtype=float), np.asarray(logps_PN, dtype=float)
    counts = np.asarray(token_counts_PN, dtype=float)
    _check(rewards, logps, counts)
    by_answer_P = compute_rank_correlations(rewards, logps)
    by_token_P = compute_rank_correlations(rewards, logps / counts)
    good = rewards >= GOOD_REWARD
    return Calibration(
        spearman=_mean_of_known(by_answer_P),
        spearman_per_token=_mean_of_known(by_token_P),
        prompts=int(np.isfinite(by_answer_P).sum()),
        prompts_per_token=int(np.isfinite(by_token_P).sum()),
        prompts_left_out=int(np.isnan(by_answer_P).sum()),
        prompts_left_out_per_token=int(np.isnan(by_token_P).sum()),
        auc=compute_auc(good, logps),
        auc_per_token=compute_auc(good, logps / counts),
        good_share=float(good.mean()),
        answers=rewards.size,
    )


def compute_rank_correlations(first_PN: Values, second_PN: Values) -> Values:
    """[P] Spearman's correlation within every prompt; NaN where one side is all equal.

    Pearson's correlation of ranks, ties with their mean rank (Spearman 1904).
    """
    first, second = _center_ranks(first_PN), _center_ranks(second_PN)
    scale_P = np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))
    correlation_P = np.full(len(first), np.nan)
    np.divide((first * second).sum(axis=1), scale_P, out=correlation_P, where=scale_P > 0)
    return correlation_P


def compute_auc(is_good: NDArray[np.bool_], scores: Values) -> float | None:
    """Share of pairs of a good and another answer in which the good one scores higher, ties half.

    By ranks: the Mann-Whitney statistic over the number of pairs (Hanley and McNeil 1982). None
    if there is only one kind.
    """
    good = is_good.ravel()
    num_good, num_other = int(good.sum()), int((~good).sum())
    if not num_good or not num_other:
        return None
    ranks = rankdata(scores.ravel())
    return float((ranks[good].sum() - num_good * (num_good + 1) / 2) / (num_good * num_other))


def _center_ranks(values_PN: Values) -> Values:
    ranks_PN: Values = rankdata(values_PN, axis=1) - (values_PN.shape[1] + 1) / 2
    return ranks_PN


def _mean_of_known(values_P: Values) -> float | None:
    known = values_P[np.isfinite(values_P)]
    return float(known.mean()) if known.size else None


def _check(rewards: Values, logps: Values, counts: Values) -> None:
    if rewards.ndim != 2 or not rewards.size or {logps.shape, counts.shape} != {rewards.shape}:
        raise ValueError(
            f"calibration wants reward, log-probability and number of tokens of every answer, "
            f"not {rewards.shape}, {logps.shape} and {counts.shape}"
        )
    if not (np.isfinite(rewards).all() and np.isfinite(logps).all()):
        raise ValueError("calibration wants finite numbers; score every answer first")
    if not (counts > 0).all():
        raise ValueError("calibration wants answers of at least one token; the end counts as one")
