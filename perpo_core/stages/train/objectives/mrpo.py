"""MRPO: DPO against several references, joined into a virtual one (arXiv 2405.16388).

For a pair i, j of `train.pairs`, references k = 1 (the start policy) to K, q_k = log pi_ref_k:

    b_i      = |mean over k of q_k(i)|,     eps_i = clip * b_i / (b_i + b_j)
    q'_k(i)  = q_k(i) clamped to q_1(i) -+ eps_i * |q_1(i)|           the trust region
    alpha_k  = |q_k(i) - q_k(j)| / sum over k of |q_k(i) - q_k(j)|    the adaptive weights
    q~(i)    = - log sum over k of alpha_k * exp(-q'_k(i))            1/ref~ = sum of alpha_k/ref_k
    L        = - mean over the pairs of log sigmoid(beta * (log pi(i) - q~(i) - log pi(j) + q~(j)))

A reference weighs by how sharply it tells the two answers apart; none may lie further from the
start policy than the trust region. With the start policy alone this is DPO.

Departures from the released code (github.com/thaihungle/MRPO, trainer_mref.py), which knows two
references: any number of them; alpha_k belongs to reference k, as in the paper, where the code's
weights are crossed; if no reference tells the answers apart, all weigh alike (there the second one
gets everything); logsumexp. The references share one tokenizer (`perpo doctor` checks it). A shift
of a reference changes the loss: log-probabilities enter the trust region themselves, not only their
differences. Undefined cases: a list without two different rewards (a singleton, all tied, all
masked) has loss 0 and gradient 0.

By hand: rewards (1, 0), log pi (-2, -4), q_1 (-2, -3), q_2 (-4, -3), clip 0.5, beta 1. b = (3, 3),
so eps = 0.25 for both; q_2(0) is clamped to -2.5, q_2(1) stays. |q_1(0) - q_1(1)| = 1, as is
|q_2(0) - q_2(1)|: alpha = (1/2, 1/2). q~(0) = -log((e^2 + e^2.5) / 2) = -2.280930, q~(1) = -3.
Margin -2 + 2.280930 + 4 - 3 = 1.280930, L = softplus(-1.280930) = 0.245123.
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
from schemas.train_config import TrainConfig


def compute_mrpo_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """DPO with q~ for log pi_ref, the mean over the pairs of each list: [P]."""
    assert batch.extra_ref_logps_KPG is not None
    references_KPG = torch.cat([batch.ref_logps_PG[None], batch.extra_ref_logps_KPG]).double()
    references_KPG = torch.where(batch.mask_PG, references_KPG, 0.0)
    virtual_PGG = compute_virtual_reference(references_KPG, config.mrpo_clip)
    logps_PG = torch.where(batch.mask_PG, batch.logps_PG, 0.0)
    ratios_PGG = logps_PG[:, :, None] - virtual_PGG.to(logps_PG.dtype)  # of i, compared with j
    pairs_PGG = PAIR_CHOICES[config.pairs](batch)
    return compute_pair_loss(config.beta * (ratios_PGG - ratios_PGG.mT), weigh_alike(pairs_PGG))


def compute_virtual_reference(references_KPG: Tensor, clip: float) -> Tensor:
    """q~(i) when i is compared with j: [P, G, G] nats; the first reference is the primary one."""
    clipped_KPGG = clip_to_first(references_KPG, clip)
    gaps_KPGG = (references_KPG[..., :, None] - references_KPG[..., None, :]).abs()
    totals_PGG = gaps_KPGG.sum(0)
    alphas_KPGG = torch.where(totals_PGG > 0, gaps_KPGG / totals_PGG, 1 / len(references_KPG))
    return -(alphas_KPGG.log() - clipped_KPGG).logsumexp(0)


def clip_to_first(references_KPG: Tensor, clip: float) -> Tensor:
    """q'_k(i) when i is compared with j: [K, P, G, G] nats."""
    sizes_PG = references_KPG.mean(0).abs()
    sums_PGG = sizes_PG[:, :, None] + sizes_PG[:, None, :]
    shares_PGG = sizes_PG[:, :, None] / torch.where(sums_PGG > 0, sums_PGG, 1.0)
    first_PG1 = references_KPG[0, :, :, None]
    slack_PGG = clip * shares_PGG * first_PG1.abs()
    lowered_KPGG = torch.minimum(references_KPG[..., :, None], first_PG1 + slack_PGG)
    return torch.maximum(lowered_KPGG, first_PG1 - slack_PGG)


MRPO = Objective(
    compute_mrpo_loss,
    needs=frozenset({"reference", "extra_references"}),
    invariances=frozenset({"reward_order"}),
    ties="apart",
)
