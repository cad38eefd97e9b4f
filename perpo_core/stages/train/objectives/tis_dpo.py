"""TIS-DPO on lists: DPO whose tokens weigh by what tells good answers from bad (arXiv 2410.04350).

    a_t  = log pi_plus(y_t) - log pi_minus(y_t)                two contrastive policies, both frozen
    w+_t = k exp(clamp(a_t, low, high))          in the better answer of a pair
    w-_t = k exp(-clamp(a_t, low, high))         in the worse one
    L    = - sum over pairs of v_ij * log sigmoid(beta * (sum_t w+_t D_t(i) - sum_t w-_t D_t(j)))

D_t = log pi(y_t) - log pi_ref(y_t). The loss of one pair is `tis_dpo_loss` of the released code
(github.com/exlaw/TIS-DPO) without its optional sequence-KL term, which is off there by default. The
form of the weights and the values -0.5, 1.5 and 1 are from memory of the paper, not verified; the
released code has others beside it. Ours is what makes lists of it: an answer has both rows of
weights, one for the pairs where it is the better and one for those where it is the worse, and v_ij
are the pairs of `train.pairs`, all alike, or PerPO's weights |reward gap|^gamma (`tis_pairs`).

Weights of 1 give dpo, weights of c give dpo with c * beta, and equal policies weights of k. A
constant added to both log-probabilities of a token changes nothing. The reference enters token by
token: a shift of whole answers is not defined. Undefined cases: a list without two different
rewards (a singleton, all tied, all masked) has loss 0 and gradient 0.

By hand: better D (0.2, -0.1), w+ (1.5, 0.5), worse D (0.1, -0.3), w- (0.8, 1.2), beta 0.5. Sums
0.25 and -0.28, margin 0.5 * 0.53 = 0.265, L = softplus(-0.265) = 0.569400.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import (
    PAIR_CHOICES,
    compute_pair_loss,
    weigh_alike,
)
from perpo_core.stages.train.objectives.perpo import compute_pair_weights
from schemas.train_config import TrainConfig


def compute_tis_dpo_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """The weighted loss of each list: [P]."""
    assert batch.contrast_PGT is not None
    better_PGT, worse_PGT = weigh_tokens(batch.contrast_PGT, config)
    better_PG, worse_PG = sum_ratios(batch, better_PGT), sum_ratios(batch, worse_PGT)
    margins_PGG = config.beta * (better_PG[:, :, None] - worse_PG[:, None, :])
    return compute_pair_loss(margins_PGG, _weigh_pairs(batch, config))


def weigh_tokens(contrast_PGT: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """(w+, w-) of log pi_plus - log pi_minus a token, nats: as the better and as the worse one."""
    clamped_PGT = contrast_PGT.clamp(config.tis_low, config.tis_high)
    return config.tis_scale * clamped_PGT.exp(), config.tis_scale * (-clamped_PGT).exp()


def sum_ratios(batch: ListBatch, weights_PGT: Tensor) -> Tensor:
    """Weighted sum of the tokens' log-ratios: [P, G] nats; what padding holds never enters."""
    assert batch.token_logps_PGT is not None and batch.ref_token_logps_PGT is not None
    places_T = torch.arange(weights_PGT.shape[2], device=weights_PGT.device)
    there_PGT = batch.mask_PG[:, :, None] & (places_T < batch.num_tokens_PG[:, :, None])
    ratios_PGT = batch.token_logps_PGT - batch.ref_token_logps_PGT
    weighted_PGT = weights_PGT.to(ratios_PGT.dtype) * ratios_PGT
    return torch.where(there_PGT, weighted_PGT, 0.0).sum(2)


def _weigh_pairs(batch: ListBatch, config: TrainConfig) -> Tensor:
    if config.tis_pairs == "gap":
        return compute_pair_weights(batch, config.gamma)
    return weigh_alike(PAIR_CHOICES[config.pairs](batch))


TIS_DPO = Objective(
    compute_tis_dpo_loss,
    needs=frozenset({"reference", "tokens"}),
    invariances=frozenset({"reward_affine"}),
    ties="apart",
)
