"""How well scores rank a list: rank shares under ties, NDCG, Kendall's tau-b, pairs in order.

Axes: P lists, G answers (padded; mask_PG says which are there), R = G ranks. Scores s are what the
policy thinks of an answer, rewards r what it is worth; r >= 0. Nothing here carries a gradient or
depends on the order of a list: where scores tie, NDCG is its mean over all ways to break the ties.

    DCG  = sum over answers of r_i / log2(1 + rank of s_i), rank 1 the highest     (linear gain)
    NDCG = DCG / (DCG with the answers in the order of r)
    tau  = (C - D) / sqrt(pairs of different r * pairs of different s)                   (tau-b)
    accuracy = (C + half the ties of s) / pairs of different r = (1 + (C - D) / pairs) / 2

C and D count the pairs of different r that s orders alike and the other way round. The gain is
linear, since rewards are in [0, 1] and as they are (an IoU, a similarity); 2^r - 1 is made for
grades. Sources: Jarvelin and Kekalainen 2002 (DCG); McSherry and Najork 2008 (ties); Kendall 1945.

Undefined cases: NDCG of a list whose rewards are all 0 is 1, as of any list of equal rewards, since
no order is better; tau is 0 where no r or no s differ, as at the start; accuracy is 1/2 where no r
differ.

By hand: r (1, 0.5, 0), s (0.2, 0.3, -0.1), ranks (2, 1, 3). DCG = 1 / 1.584963 + 0.5 / 1
= 1.130930, ideal 1 + 0.5 / 1.584963 = 1.315465, NDCG 0.859719. C = 2, D = 1: tau 1/3, accuracy 2/3.
With s (0.3, 0.3, -0.1) the first two share the mean discount (1 + 0.630930) / 2 = 0.815465:
NDCG 1.5 * 0.815465 / 1.315465 = 0.929859, tau = 2 / sqrt(3 * 2) = 0.816497, accuracy 5/6.
"""

from __future__ import annotations

import torch
from torch import Tensor


def compute_rank_shares(scores_PG: Tensor, mask_PG: Tensor) -> tuple[Tensor, Tensor]:
    """([P, G, R] probability that answer i has rank r, ties broken at random; [P, G] tied with i).

    An answer ties with itself.
    """
    above_PGG = (scores_PG[:, None, :] > scores_PG[:, :, None]) & mask_PG[:, None, :]
    tied_PGG = (scores_PG[:, None, :] == scores_PG[:, :, None]) & mask_PG[:, None, :]
    num_above_PG1, num_tied_PG1 = above_PGG.sum(2, True), tied_PGG.sum(2, True).clamp(min=1)
    places_R = torch.arange(scores_PG.shape[1], device=scores_PG.device)
    within_PGR = (places_R >= num_above_PG1) & (places_R < num_above_PG1 + num_tied_PG1)
    return within_PGR / num_tied_PG1.double(), num_tied_PG1.squeeze(2)


def compute_ndcg(scores_PG: Tensor, rewards_PG: Tensor, mask_PG: Tensor) -> Tensor:
    """NDCG of each list in the order of its scores: [P] float64 in [0, 1]."""
    gains_PG = torch.where(mask_PG, rewards_PG, 0.0)
    dcg_P = _compute_dcg(scores_PG, gains_PG, mask_PG)
    ideal_P = _compute_dcg(rewards_PG, gains_PG, mask_PG)
    return torch.where(ideal_P > 0, dcg_P / ideal_P, 1.0)


def _compute_dcg(scores_PG: Tensor, gains_PG: Tensor, mask_PG: Tensor) -> Tensor:
    shares_PGR, _ = compute_rank_shares(scores_PG, mask_PG)
    ranks_R = torch.arange(1, scores_PG.shape[1] + 1, device=scores_PG.device)
    return (gains_PG * (shares_PGR @ (1 / (1 + ranks_R).double().log2()))).sum(1)


def compute_kendall_tau(scores_PG: Tensor, rewards_PG: Tensor, mask_PG: Tensor) -> Tensor:
    """tau-b between scores and rewards of each list: [P] float64 in [-1, 1]."""
    signs_PGG = _compare(scores_PG, mask_PG)
    truth_PGG = _compare(rewards_PG, mask_PG)
    num_pairs_P = (signs_PGG.abs().sum((1, 2)) * truth_PGG.abs().sum((1, 2))).sqrt()
    return (signs_PGG * truth_PGG).sum((1, 2)) / num_pairs_P.clamp(min=1)


def compute_pair_accuracy(scores_PG: Tensor, rewards_PG: Tensor, mask_PG: Tensor) -> Tensor:
    """Share of the pairs of different rewards that the scores order alike: [P] float64."""
    truth_PGG = _compare(rewards_PG, mask_PG)
    balance_P = (_compare(scores_PG, mask_PG) * truth_PGG).sum((1, 2))
    return (1 + balance_P / truth_PGG.abs().sum((1, 2)).clamp(min=1)) / 2


def _compare(values_PG: Tensor, mask_PG: Tensor) -> Tensor:
    """1 where answer i has the higher value, -1 where j has, else 0: [P, G, G] float64.

    Every pair stands there twice, as (i, j) and as (j, i).
    """
    higher_PGG = values_PG[:, :, None] > values_PG[:, None, :]
    higher_PGG = higher_PGG & mask_PG[:, :, None] & mask_PG[:, None, :]
    return higher_PGG.double() - higher_PGG.mT.double()
