"""Plackett-Luce DPO: the likelihood of the whole ranking (arXiv 2305.18290, appendix A.3, Eq. 20).

    L = - sum over i of log( exp(beta s_i) / sum over j in {i} + worse(i) of exp(beta s_j) )

Answer i is chosen before all that are worse, one factor an answer; the factor of the worst is 1.
Only the order of the rewards enters, not their gaps. The sum is the paper's: at the start a list of
G different rewards has loss ln G!, and a list of two is exactly DPO.

Answers of equal rewards are not each other's rivals: worse(i) holds strictly lower rewards. The
paper ranks without ties; this is its loss there, and independent of the order of a list with ties.
Undefined cases: a list without two different rewards (a singleton, all tied, all masked) has loss 0
and gradient 0.

By hand: rewards (0.9, 0.5, 0.1), beta 1, s (0.2, 0.0, -0.1). Factors
log(1 + exp(-0.2) + exp(-0.3)) = 0.939831 and softplus(-0.1) = 0.644397; L = 1.584228.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import compute_margins, find_better
from schemas.train_config import TrainConfig


def compute_choice_losses(batch: ListBatch, beta: float) -> Tensor:
    """The factors of Eq. 20: [P, G] - log p(answer i before all worse ones), 0 if none is worse."""
    oneself_GG = torch.eye(batch.mask_PG.shape[1], dtype=torch.bool, device=batch.mask_PG.device)
    rivals_PGG = find_better(batch) | oneself_GG
    margins_PGG = compute_margins(batch, beta)
    return torch.where(rivals_PGG, -margins_PGG, -torch.inf).logsumexp(2)


def compute_plackett_luce_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """Eq. 20 for each list: [P]."""
    return compute_choice_losses(batch, config.beta).sum(1)


PLACKETT_LUCE = Objective(
    compute_plackett_luce_loss,
    needs=frozenset({"reference"}),
    invariances=frozenset({"reward_order", "reference_shift"}),
    ties="apart",
)
