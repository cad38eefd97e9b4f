"""RPO: DPO plus the chosen answers' negative log-likelihood (arXiv 2405.16436, Algorithm 2).

    L = L_DPO + eta * beta * mean over the pairs of - log pi(y_i|x,v)            cumulative
    L = L_DPO + eta * mean over the pairs of - log pi(y_i|x,v) / |y_i|           averaged

y_i is the better answer of a pair of `train.pairs`. The paper derives the first form; its released
code (github.com/YSLIU627/Regularized-Preference-Optimization) has it with eta 0.005 for chat
models, and the second, without beta, with eta 0.2 for reasoning. eta = 0 is DPO. With one best
answer and the pairs best_worst or best_rest, averaged is dpo with nll_weight = eta.

Undefined cases: a list without two different rewards (a singleton, all tied, all masked) has no
chosen answer, loss 0 and gradient 0.

By hand: rewards (0.9, 0.1), log-probabilities (-2.0, -3.0), reference (-2.2, -2.9), tokens (4, 5),
beta 0.5, eta 0.2. s = (0.2, -0.1), L_DPO = softplus(-0.15) = 0.620957; averaged adds
0.2 * 2 / 4 = 0.1, L = 0.720957; cumulative adds 0.2 * 0.5 * 2 = 0.2, L = 0.820957.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.dpo import compute_dpo_loss
from perpo_core.stages.train.objectives.pairs import PAIR_CHOICES, weigh_alike
from schemas.train_config import TrainConfig


def compute_rpo_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """The objective of Algorithm 2 for each list, in either form: [P]."""
    pairs_PGG = PAIR_CHOICES[config.pairs](batch)
    chosen_PG = weigh_alike(pairs_PGG).sum(2)
    nll_PG = -torch.where(batch.mask_PG, batch.logps_PG, 0.0)
    if config.rpo_nll == "averaged":
        nll_PG = config.rpo_eta * nll_PG / batch.num_tokens_PG.clamp(min=1)
    else:
        nll_PG = config.rpo_eta * config.beta * nll_PG
    return compute_dpo_loss(batch, config) + (chosen_PG.to(nll_PG.dtype) * nll_PG).sum(1)


RPO = Objective(
    compute_rpo_loss,
    needs=frozenset({"reference"}),
    invariances=frozenset({"reward_order", "reference_shift"}),
    ties="apart",
)
