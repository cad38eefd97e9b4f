"""SPO's degree loss: how far an answer is degraded shall be told (arXiv 2409.17791).

    L = - (1/V) * sum over v of log softmax(logits_v)[degree_v]

over the V versions of a list's best answer, whose degrees 0 .. D - 1 are known from how they were
made (perpo_core.perception.degrading). The sum L_alignment + weight * L_degree is the paper's
(abstract); cross-entropy is its form as it is remembered, and the mean over a list's versions is
ours, so that a list weighs what the others do. The logits are those of a linear layer
(perpo_core.stages.train.degree_head), trained with the policy through them.

It reads neither rewards nor log-probabilities of answers. A list without versions (nothing of its
best answer could be degraded) has loss 0 and gradient 0; so has one without answers, which has no
best. Where answers tie for the best, the first of them is degraded.

By hand: zero logits give ln D, for D = 4 1.386294. Logits (0.5, -0.5) for a version of degree 0 and
(1, 0) for one of degree 1: L = (0.313262 + 1.313262) / 2 = 0.813262.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from schemas.train_config import TrainConfig


def compute_degree_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """Mean cross-entropy over the versions of each list: [P]."""
    del config
    assert batch.degree_logits_PVD is not None and batch.degrees_PV is not None
    there_PV = (batch.degrees_PV >= 0) & batch.mask_PG.any(1, keepdim=True)
    logits_PVD = torch.where(there_PV[..., None], batch.degree_logits_PVD, 0.0)
    labels_PV1 = batch.degrees_PV.clamp(min=0)[..., None]
    losses_PV = -logits_PVD.log_softmax(-1).gather(-1, labels_PV1).squeeze(-1)
    return (losses_PV * there_PV).sum(1) / there_PV.sum(1).clamp(min=1)


DEGREE = Objective(
    compute_degree_loss,
    needs=frozenset({"degrees"}),
    invariances=frozenset({"reward_order", "reference_shift"}),
    ties="alike",
)
