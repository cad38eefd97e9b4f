"""DPO on pairs taken from the list (arXiv 2305.18290, Eq. 7; `train.pairs` says which pairs).

    L = - mean over the chosen pairs of log sigmoid(beta * (s_i - s_j)),   s = log pi / pi_ref

    best_worst  a best answer against a worst one: the usual way to make a pair of a list
    best_rest   a best answer against every worse one
    adjacent    answers of neighbouring rewards
    all         every pair; the same as perpo with gamma = 0
    hardest     a best answer against the worse one that the reference finds most likely
    nearest     a best answer against the worse one closest to it (closeness.py, two folders up)
    popular     a best answer against the worse one that most lists of its task hold (popularity.py)

The mean makes ln 2 of every list at the start, however many pairs it has. Where answers tie for a
place, all of them fill it, so that nothing depends on the order of a list; equal rewards are never
a pair. Undefined cases: a list without two different rewards (a singleton, all tied, all masked)
has loss 0 and gradient 0.

By hand: rewards (0.9, 0.5, 0.1), beta 1, s (0.2, 0.0, -0.1). best_worst: softplus(-0.3) = 0.554355;
best_rest: (softplus(-0.2) + softplus(-0.3)) / 2 = (0.598139 + 0.554355) / 2 = 0.576247; adjacent:
(softplus(-0.2) + softplus(-0.1)) / 2 = (0.598139 + 0.644397) / 2 = 0.621268; all: their three sum
/ 3 = 1.796891 / 3 = 0.598964. With reference log-probabilities (-1, -5, -2) hardest compares the
first with the third, 0.554355; with closeness (1, 0.6, 0.3) nearest compares it with the second,
softplus(-0.2) = 0.598139; where both were seen equally often popular is best_rest.
"""

from __future__ import annotations

from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import (
    PAIR_CHOICES,
    compute_margins,
    compute_pair_loss,
    weigh_alike,
)
from schemas.train_config import TrainConfig


def compute_dpo_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """Eq. 7, the mean over the pairs of each list: [P]."""
    pairs_PGG = PAIR_CHOICES[config.pairs](batch)
    return compute_pair_loss(compute_margins(batch, config.beta), weigh_alike(pairs_PGG))


DPO = Objective(
    compute_dpo_loss,
    needs=frozenset({"reference"}),
    invariances=frozenset({"reward_order", "reference_shift"}),
    ties="apart",
)
