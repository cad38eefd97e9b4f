"""P3O: pairwise proximal policy optimisation, a policy gradient on pairs (arXiv 2310.00212).

    u_i  = log pi(y_i|x,v) - log pi_old(y_i|x,v),     rho_i = exp(u_i)
    R_i  = r_i - kl_weight * (log pi_old(y_i) - log pi_ref(y_i))
    A_ij = (R_i - R_j) / 2
    L    = mean over i < j of L_ij,   c(x, a, b) = x clamped to [a, b]

    joint      d = u_i - u_j,   L_ij = - min(A_ij * d, A_ij * c(d, -eps, eps))
    separate   L_ij = - min(A_ij * rho_i, A_ij * c(rho_i, 1 - eps, 1 + eps))
                      - min(-A_ij * rho_j, -A_ij * c(rho_j, 1 - eps, 1 + eps))

pi_old is the policy that sampled the answers, by its own log-probabilities; eps is `clip_range`.
Where pi = pi_old both gradients are E[(R_1 - R_2) * grad(log pi(y_1) - log pi(y_2)) / 2], and over
all pairs of a list that of leave-one-out REINFORCE, sum of (R_i - mean R) * grad log pi(y_i) /
(G - 1). What a prompt's answers have in common, such as a shift of all rewards, cancels.

From the abstract and a summary of the paper: the pairwise gradient, both ways to clip (V1 separate,
V2 joint), and that the KL penalty belongs to the reward. The forms of the ratios are from memory:
the full text could not be read, and no official code was found. Ours: more than two answers a
prompt, as the mean over their pairs; in `separate`, u above MAX_LOG_RATIO counts as that and
carries no gradient, since exp overflows.

What it takes for granted: answers drawn at temperature 1 from the whole distribution, which `perpo
doctor` insists on. Lists are such answers without doubles, cut-off ones and prompts whose rewards
hardly differ, so that the gradient is that of the expected reward among those; doctor says how to
keep doubles. beta is not read.

Undefined cases: answers of equal R pull nothing, whatever their rewards; a list without two
different R (a singleton, all tied, all masked) has loss 0 and gradient 0. With kl_weight = 0, R is
the reward; with more, tied answers are told apart by their KL penalty.

By hand: R (0.9, 0.1), u (0.3, -0.1), eps 0.2. A = 0.4. joint: d = 0.4 is clamped to 0.2,
L = -0.08. separate: rho (1.349859, 0.904837); -min(0.539944, 0.48) - min(-0.361935, -0.361935)
= -0.118065.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import weigh_alike
from schemas.train_config import P3oClip, TrainConfig

MAX_LOG_RATIO = 20.0  # nats; exp(20) is 5e8, far beyond any clip range


def compute_totals(batch: ListBatch, kl_weight: float) -> Tensor:
    """R_i: [P, G] float64, 0 where there is no answer."""
    assert batch.sampler_logps_PG is not None
    penalties_PG = batch.sampler_logps_PG.double() - batch.ref_logps_PG
    return torch.where(batch.mask_PG, batch.rewards_PG - kl_weight * penalties_PG, 0.0)


def compute_joint_gains(ratios_PG: Tensor, advantages_PGG: Tensor, clip_range: float) -> Tensor:
    """-L_ij of V2: [P, G, G], the same for (i, j) and (j, i)."""
    gaps_PGG = ratios_PG[:, :, None] - ratios_PG[:, None, :]
    kept_PGG = gaps_PGG.clamp(-clip_range, clip_range)
    return torch.minimum(advantages_PGG * gaps_PGG, advantages_PGG * kept_PGG)


def compute_separate_gains(ratios_PG: Tensor, advantages_PGG: Tensor, clip_range: float) -> Tensor:
    """-L_ij of V1: [P, G, G], the same for (i, j) and (j, i)."""
    rhos_PG1 = ratios_PG[:, :, None].clamp(max=MAX_LOG_RATIO).exp()
    kept_PG1 = rhos_PG1.clamp(1 - clip_range, 1 + clip_range)
    of_first_PGG = torch.minimum(advantages_PGG * rhos_PG1, advantages_PGG * kept_PG1)
    return of_first_PGG + of_first_PGG.mT


GAINS: dict[P3oClip, Callable[[Tensor, Tensor, float], Tensor]] = {
    "joint": compute_joint_gains,
    "separate": compute_separate_gains,
}


def compute_p3o_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """The mean over the pairs of each list: [P]."""
    assert batch.sampler_logps_PG is not None
    ratios_PG = (batch.logps_PG - batch.sampler_logps_PG).to(batch.logps_PG.dtype)
    ratios_PG = torch.where(batch.mask_PG, ratios_PG, 0.0)
    totals_PG = compute_totals(batch, config.kl_weight)
    advantages_PGG = (totals_PG[:, :, None] - totals_PG[:, None, :]).to(ratios_PG.dtype) / 2
    gains_PGG = GAINS[config.clip](ratios_PG, advantages_PGG, config.clip_range)
    weights_PGG = weigh_alike(find_others(batch.mask_PG)).to(ratios_PG.dtype)
    return -(weights_PGG * gains_PGG).sum((1, 2))


def find_others(mask_PG: Tensor) -> Tensor:
    """[P, G, G] True for every two different answers that are there."""
    same_GG = torch.eye(mask_PG.shape[1], dtype=torch.bool, device=mask_PG.device)
    return mask_PG[:, :, None] & mask_PG[:, None, :] & ~same_GG


P3O = Objective(
    compute_p3o_loss,
    needs=frozenset({"reference", "sampler"}),
    invariances=frozenset({"reward_shift", "reference_shift"}),
    ties="apart",
)
