"""PerPO: all pairs of a list, weighted by the gap of their rewards (arXiv 2502.04371, Eq. 6).

    s_i  = log pi(y_i|x,v) - log pi_ref(y_i|x,v)
    w_ij = (r_i - r_j)^gamma / sum over r_a > r_b of (r_a - r_b)^gamma
    L    = - sum over r_i > r_j of w_ij * log sigmoid(beta * (s_i - s_j))

The weights of a list sum to 1, so at the start (policy = reference) the loss is ln 2 for any list,
and a list of two is exactly DPO. gamma = 0 weighs all pairs of different rewards alike, which is
the objective dpo on all pairs.

Departures from the released code (github.com/ningerhhh/PerPO, e39a24a): the direction of a pair
comes from its rewards, never from its position; the normaliser covers exactly the pairs summed;
pairs of equal rewards weigh nothing, also at gamma = 0; softplus instead of log(1 + exp), which
overflows. Undefined cases: a list without two different rewards (a singleton, all tied, all
masked) has loss 0 and gradient 0; materialize never lets one in.

By hand: rewards (0.9, 0.5, 0.5), gamma 1, beta 1, s (0.2, 0.0, -0.1). Pairs (0,1) and (0,2), gaps
0.4 and 0.4, weights 1/2 each; L = (softplus(-0.2) + softplus(-0.3)) / 2
= (0.598139 + 0.554355) / 2 = 0.576247.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import compute_margins, compute_pair_loss, find_better
from schemas.train_config import TrainConfig


def compute_pair_weights(batch: ListBatch, gamma: float) -> Tensor:
    """w_ij of Eq. 6: [P, G, G], positive where r_i > r_j, each list summing to 1 (or all 0)."""
    gaps_PGG = batch.rewards_PG[:, :, None] - batch.rewards_PG[:, None, :]
    better_PGG = find_better(batch)
    # where before pow: 0^gamma has no finite gradient, and 0^0 = 1 would let ties in.
    powers_PGG = torch.where(better_PGG, gaps_PGG, 1.0).pow(gamma) * better_PGG
    totals_P11 = powers_PGG.sum((1, 2), keepdim=True)
    return powers_PGG / torch.where(totals_P11 > 0, totals_P11, 1.0)


def compute_perpo_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """Eq. 6 for each list: [P]."""
    weights_PGG = compute_pair_weights(batch, config.gamma)
    return compute_pair_loss(compute_margins(batch, config.beta), weights_PGG)


PERPO = Objective(
    compute_perpo_loss,
    needs=frozenset({"reference"}),
    invariances=frozenset({"reward_affine", "reference_shift"}),
    ties="apart",
)
