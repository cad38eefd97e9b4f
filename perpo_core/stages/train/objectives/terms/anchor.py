"""mDPO's anchor: the best answer shall gain likelihood, not just lose less (arXiv 2406.11839).

    s = log pi(y|x,v) - log pi_ref(y|x,v)             of the best answer y
    L = - log sigmoid(beta * s - delta),   delta = 0

as `anchor_logits` in the released code (github.com/luka-group/mDPO, mdpo_trainer.py). Answers that
tie for the best count alike: the list has their mean. Undefined cases: a list without two different
rewards (a singleton, all tied, all masked) has no preferred answer, loss 0 and gradient 0.

By hand: rewards (0.9, 0.5), beta 1, s (0.3, 0.1): L = softplus(-0.3) = 0.554355.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import find_chosen
from schemas.train_config import TrainConfig


def compute_anchor_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """The anchor of each list, the mean over its preferred answers: [P]."""
    chosen_PG = find_chosen(batch)
    ratios_PG = torch.where(chosen_PG, batch.log_ratios_PG, 0.0)
    losses_PG = softplus(-config.beta * ratios_PG)
    return (losses_PG * chosen_PG).sum(1) / chosen_PG.sum(1).clamp(min=1)


ANCHOR = Objective(
    compute_anchor_loss,
    needs=frozenset({"reference"}),
    invariances=frozenset({"reward_order"}),
    ties="apart",
)
