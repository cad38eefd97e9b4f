"""The loss that is trained on: the configured objective plus its weighted terms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from perpo_core.stages.train.objectives import OBJECTIVES, TERMS
from perpo_core.stages.train.objectives.base import ListBatch, Need
from perpo_core.stages.train.settings import list_unread
from schemas.train_config import TrainConfig

NEEDED_BY: Mapping[tuple[str, str], Need] = {
    ("pairs", "nearest"): "closeness",
    ("pairs", "popular"): "popularity",
    ("smoothing", "column"): "smoothing",
}
"""(setting, value) -> what that value needs of a list, whatever objective reads it."""


def compute_loss_P(lists: ListBatch, config: TrainConfig) -> Tensor:
    """Loss of each list: [P]."""
    return torch.stack(list(compute_loss_parts(lists, config).values())).sum(0)


def compute_loss_parts(lists: ListBatch, config: TrainConfig) -> dict[str, Tensor]:
    """What the loss of each list adds up from, weights included: name -> [P]."""
    objective = OBJECTIVES[config.objective]
    parts_P: dict[str, Tensor] = {config.objective: objective.compute_loss_P(lists, config)}
    for name, term in TERMS.items():
        if weight := getattr(config, name):
            parts_P[name.removesuffix("_weight")] = weight * term.compute_loss_P(lists, config)
    return parts_P


def list_parts(config: TrainConfig) -> list[str]:
    """The names of the loss's parts."""
    terms = [name.removesuffix("_weight") for name in TERMS if getattr(config, name)]
    return [config.objective, *terms]


def find_needs(config: TrainConfig) -> frozenset[Need]:
    """What the objective and the terms that weigh something need of a list."""
    terms = [term for name, term in TERMS.items() if getattr(config, name)]
    of_parts = OBJECTIVES[config.objective].needs.union(*(term.needs for term in terms))
    return of_parts | find_needs_of_settings(config)


def find_needs_of_settings(config: TrainConfig) -> set[Need]:
    """What the settings that the objective reads need besides."""
    unread = list_unread(config)
    return {
        need
        for (name, value), need in NEEDED_BY.items()
        if name not in unread and getattr(config, name) == value
    }
