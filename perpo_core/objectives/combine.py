"""The loss that is trained on: the configured objective plus its weighted terms."""

from __future__ import annotations

from torch import Tensor

from perpo_core.objectives import OBJECTIVES, TERMS
from perpo_core.objectives.base import ListBatch, Need
from schemas.config import TrainConfig


def compute_loss_P(lists: ListBatch, config: TrainConfig) -> Tensor:
    """Loss of each list: [P]."""
    loss_P = OBJECTIVES[config.objective].compute_loss_P(lists, config)
    for name, term in TERMS.items():
        if weight := getattr(config, name):
            loss_P = loss_P + weight * term.compute_loss_P(lists, config)
    return loss_P


def find_needs(config: TrainConfig) -> frozenset[Need]:
    """What the objective and the terms that weigh something need of a list."""
    terms = [term for name, term in TERMS.items() if getattr(config, name)]
    return OBJECTIVES[config.objective].needs.union(*(term.needs for term in terms))
