"""SFT: mean token negative log-likelihood of the best answers of a list.

    L = - sum over best i of log pi(y_i|x,v) / sum over best i of |y_i|

"Best" is every answer that shares the highest reward; with equal rewards all count, which is plain
supervised training (`perpo bootstrap` trains the built-in policy this way). No reference. As the
term nll_weight it holds up the best answer's likelihood, which a comparison lets fall as long as
the others fall faster. Undefined: a list without answers has loss 0 and gradient 0.

By hand: rewards (1, 1, 0), log-probabilities (-2, -4, -9), tokens (2, 4, 3): L = 6 / 6 = 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import find_best
from schemas.train_config import TrainConfig


def compute_sft_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """Loss of each list, nats a token: [P]; 0 for a list without answers."""
    del config
    best_PG = find_best(batch)
    nll_P = -torch.where(best_PG, batch.logps_PG, 0.0).sum(1)
    return nll_P / (batch.num_tokens_PG * best_PG).sum(1).clamp(min=1)


SFT = Objective(
    compute_sft_loss,
    needs=frozenset(),
    invariances=frozenset({"reward_order", "reference_shift"}),
    ties="alike",
)
