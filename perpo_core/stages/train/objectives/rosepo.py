"""RosePO: DPO on pairs whose order may be wrong, each with its own probability (arXiv 2410.12519).

    L = mean over the chosen pairs of (1 - eps_ij) * softplus(-m) + eps_ij * softplus(m)
      = mean over the chosen pairs of softplus(-m) + eps_ij * m,       m = beta * (s_i - s_j)

The abstract names a smoothing factor of every sample, predicted by a preference oracle, and rules
for rejected answers, which are choices of `train.pairs` here; the full text could not be read, and
no official code was found. The form is that of conservative DPO with eps of the pair; it and what
eps follows from are ours:

    smoothing = "gap"       eps_ij = 1 / (1 + exp(slope * (r_i - r_j)))
    smoothing = "column"    eps_ij = (e_i + e_j) / 2, e the reward `smoothing_column` of an answer

By gap, two answers of nearly equal rewards are a toss-up, and the slope says how soon a gap can be
trusted: the one given, or one fitted to how often second rewards turn a pair round
(perpo_core/stages/train/smoothing_slope.py). eps = 0 is dpo; the minimum of a pair lies at
sigmoid(m) = 1 - eps, so that no margin grows for ever; eps = 1/2 pulls it to 0.

Undefined cases: a list without two different rewards (a singleton, all tied, all masked) has loss 0
and gradient 0.

By hand: eps 0.1, m 0.4: 0.9 * 0.513015 + 0.1 * 0.913015 = 0.553015. By gap with slope 2, rewards
(0.9, 0.1): eps = 1 / (1 + exp(1.6)) = 0.167982, L = 0.513015 + 0.167982 * 0.4 = 0.580208.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.pairs import (
    PAIR_CHOICES,
    compute_margins,
    compute_pair_loss,
    weigh_alike,
)
from schemas.train_config import TrainConfig


def compute_smoothing(batch: ListBatch, config: TrainConfig) -> Tensor:
    """eps_ij, [P, G, G] float64 in [0, 1]; says something where i and j are answers."""
    if config.smoothing == "column":
        assert batch.smoothing_PG is not None
        doubts_PG = torch.where(batch.mask_PG, batch.smoothing_PG, 0.0)
        return (doubts_PG[:, :, None] + doubts_PG[:, None, :]) / 2
    assert config.smoothing_slope is not None, "the stage puts a fitted one in its place"
    gaps_PGG = batch.rewards_PG[:, :, None] - batch.rewards_PG[:, None, :]
    return torch.sigmoid(-config.smoothing_slope * gaps_PGG)


def compute_rosepo_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """The smoothed loss above for each list: [P]."""
    weights_PGG = weigh_alike(PAIR_CHOICES[config.pairs](batch))
    reversed_PGG = weights_PGG * compute_smoothing(batch, config)
    margins_PGG = compute_margins(batch, config.beta)
    as_ranked_P = compute_pair_loss(margins_PGG, weights_PGG - reversed_PGG)
    return as_ranked_P + compute_pair_loss(-margins_PGG, reversed_PGG)


ROSEPO = Objective(
    compute_rosepo_loss,
    needs=frozenset({"reference"}),
    invariances=frozenset({"reward_shift", "reference_shift"}),
    ties="apart",
)
