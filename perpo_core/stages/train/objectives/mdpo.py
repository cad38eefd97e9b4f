"""mDPO: DPO of best against worst, with the conditional and the anchor term (arXiv 2406.11839).

    L = L_DPO(best, worst) + L_conditional + L_anchor          each with weight 1

the sum of `dpo_loss` in the released code (github.com/luka-group/mDPO, mdpo_trainer.py). The same
terms go with any other objective through `conditional_weight` and `anchor_weight`; this name is the
paper's own combination. Ties and undefined cases are those of the parts: a list without two
different rewards (a singleton, all tied, all masked) has loss 0 and gradient 0.

By hand: rewards (0.9, 0.5), beta 1, s (0.3, 0.1), s(crop) of the best -0.2:
L = softplus(-0.2) + softplus(-0.5) + softplus(-0.3) = 0.598139 + 0.474077 + 0.554355 = 1.626571.
"""

from __future__ import annotations

from torch import Tensor

from perpo_core.stages.train.objectives.base import ListBatch, Objective
from perpo_core.stages.train.objectives.dpo import compute_dpo_loss
from perpo_core.stages.train.objectives.terms.anchor import compute_anchor_loss
from perpo_core.stages.train.objectives.terms.conditional import compute_conditional_loss
from schemas.train_config import TrainConfig


def compute_mdpo_loss(batch: ListBatch, config: TrainConfig) -> Tensor:
    """The sum of the three losses for each list: [P]."""
    assert config.pairs == "best_worst"  # TrainConfig refuses any other
    terms_P = compute_conditional_loss(batch, config) + compute_anchor_loss(batch, config)
    return compute_dpo_loss(batch, config) + terms_P


MDPO = Objective(
    compute_mdpo_loss,
    needs=frozenset({"reference", "crop"}),
    invariances=frozenset({"reward_order"}),
    ties="apart",
)
