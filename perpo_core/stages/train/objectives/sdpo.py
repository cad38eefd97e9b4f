"""S-DPO, softmax DPO: the best answer against all worse ones at once (arXiv 2406.09215).

    L = - log sigmoid( - log sum over worse j of exp(beta * (s_j - s_best)) )
      = - log softmax of the best among itself and the worse ones

the first factor of Plackett-Luce. One negative makes it DPO.

Departures from the released code (github.com/chenyuxin1999/S-DPO, trainer/softmax_dpo_trainer.py):
logsumexp instead of the log of a sum of exponentials, which overflows; the negatives are the list's
own, not drawn at random. Answers that tie for the best are not each other's negatives: each has its
loss, and the list their mean. Undefined cases: a list without two different rewards (a singleton,
all tied, all masked) has loss 0 and gradient 0.

By hand: rewards (0.9, 0.5, 0.1), beta 1, s (0.2, 0.0, -0.1):
L = log(1 + exp(-0.2) + exp(-0.3)) = 0.939831.
"""

from __future__ import annotations

from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import find_best
from perpo_core.stages.train.objectives.plackett_luce import compute_choice_losses
from schemas.train_config import TrainConfig


def compute_sdpo_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """The softmax loss above for each list: [P]."""
    best_PG = find_best(batch)
    losses_PG = compute_choice_losses(batch, config.beta)
    return (losses_PG * best_PG).sum(1) / best_PG.sum(1).clamp(min=1)


SDPO = Objective(
    compute_sdpo_loss,
    needs=frozenset({"reference"}),
    invariances=frozenset({"reward_order", "reference_shift"}),
    ties="apart",
)
