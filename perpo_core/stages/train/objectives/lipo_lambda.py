"""LiPO-lambda: all pairs, weighted by what their order is worth in DCG (arXiv 2402.01878, Eq. 8).

    Delta_ij = |2^r_i - 2^r_j| * |1 / log(1 + tau(i)) - 1 / log(1 + tau(j))|
    L        = - sum over r_i > r_j of Delta_ij * log sigmoid(beta * (s_i - s_j))

tau(i) is the rank of answer i among the policy's own scores s, 1 the highest; it carries no
gradient. The weights do not sum to 1: with rewards 1 and 0 a list of two is DPO times
1 / ln 2 - 1 / ln 3 = 0.53.

Where scores tie, as all of them do at the start, the formula depends on how the tie is broken. Here
the discount gap of a pair is its mean over all ways to break the ties. Giving tied answers their
mean rank instead would make every weight, and with it the gradient, 0 at the start: training would
never begin. Scores that rounding alone sets apart do not count as tied.

Undefined cases: a list without two different rewards (a singleton, all tied, all masked) has loss 0
and gradient 0. There is no official code.

By hand: rewards (1, 0.5, 0), beta 1, s (0.2, 0.3, -0.1), so tau = (2, 1, 3). Gains 2, 1.414214, 1;
discounts 1 / ln(2, 3, 4) = 1.442695, 0.910239, 0.721348 by rank. Delta_01 = 0.585786 * 0.532456
= 0.311905, Delta_02 = 1 * 0.188892, Delta_12 = 0.414214 * 0.721348 = 0.298792.
L = 0.311905 * softplus(0.1) + 0.188892 * softplus(-0.3) + 0.298792 * softplus(-0.4)
= 0.232181 + 0.104713 + 0.153285 = 0.490179.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import compute_margins, compute_pair_loss, find_better
from perpo_core.stages.train.objectives.ranking import compute_rank_shares
from schemas.train_config import TrainConfig


def compute_lambda_weights(batch: ListBatch) -> Tensor:
    """Delta_ij of Eq. 8: [P, G, G] float64, 0 where r_i <= r_j."""
    gains_PG = batch.rewards_PG.exp2()
    gain_gaps_PGG = gains_PG[:, :, None] - gains_PG[:, None, :]  # positive where r_i > r_j
    discount_gaps_PGG = compute_discount_gaps(batch.log_ratios_PG, batch.mask_PG)
    return gain_gaps_PGG * discount_gaps_PGG * find_better(batch)


def compute_discount_gaps(scores_PG: Tensor, mask_PG: Tensor) -> Tensor:
    """|1 / log(1 + tau(i)) - 1 / log(1 + tau(j))|, mean over the ways to break ties: [P, G, G]."""
    shares_PGR, num_tied_PG = compute_rank_shares(scores_PG, mask_PG)
    ranks_R = torch.arange(1, scores_PG.shape[1] + 1, device=scores_PG.device)
    discounts_R = 1 / (1 + ranks_R).double().log()
    gaps_RR = (discounts_R[:, None] - discounts_R[None, :]).abs()
    gaps_PGG = shares_PGR @ gaps_RR @ shares_PGR.mT
    # Two of n tied answers never hold the same rank: n - 1 of the n ranks are left for the second.
    tied_PGG = scores_PG[:, :, None] == scores_PG[:, None, :]
    among_tied_PG = num_tied_PG.double() / (num_tied_PG - 1).clamp(min=1)
    return torch.where(tied_PGG, gaps_PGG * among_tied_PG[:, :, None], gaps_PGG)


def compute_lipo_lambda_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """Eq. 8 for each list: [P]."""
    return compute_pair_loss(compute_margins(batch, config.beta), compute_lambda_weights(batch))


LIPO_LAMBDA = Objective(
    compute_lipo_lambda_loss,
    needs=frozenset({"reference"}),
    invariances=frozenset({"reference_shift"}),
    ties="apart",
)
