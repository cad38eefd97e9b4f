"""mDPO's conditional preference: the best answer shall need its image (arXiv 2406.11839).

    s(v) = log pi(y|x,v) - log pi_ref(y|x,v)          of the best answer y
    L    = - log sigmoid(beta * (s(v) - s(crop of v)))

as `image_conditional_logits` in the released code (github.com/luka-group/mDPO, mdpo_trainer.py).
The crop is drawn once a sample (perpo_core/stages/altering/crops.py) and not, as there, anew for
the policy and for the reference, which compares two different crops. Answers that tie for the best
count alike: the list has their mean. Undefined cases: a list without two different rewards (a
singleton, all tied, all masked) has no preferred answer, loss 0 and gradient 0.

By hand: rewards (0.9, 0.5), beta 1, s(v) of the best 0.3, s(crop) of the best -0.2:
L = softplus(-0.5) = 0.474077.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import find_chosen
from schemas.train_config import TrainConfig


def compute_conditional_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """The image preference of each list, the mean over its preferred answers: [P]."""
    assert batch.crop_logps_PG is not None and batch.ref_crop_logps_PG is not None
    chosen_PG = find_chosen(batch)
    crop_ratios_PG = batch.crop_logps_PG - batch.ref_crop_logps_PG
    margins_PG = torch.where(chosen_PG, batch.log_ratios_PG - crop_ratios_PG, 0.0)
    losses_PG = softplus(-config.beta * margins_PG)
    return (losses_PG * chosen_PG).sum(1) / chosen_PG.sum(1).clamp(min=1)


CONDITIONAL = Objective(
    compute_conditional_loss,
    needs=frozenset({"reference", "crop"}),
    invariances=frozenset({"reward_order"}),
    ties="apart",
)
