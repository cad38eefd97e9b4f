"""Who is better than whom in a list, and which of these pairs a loss compares.

A pair is two answers of different rewards, whatever their positions: i is the better one, j the
other. Answers of equal rewards are no pair. A list that has no pair weighs nothing.

    L = - sum over pairs of w_ij * log sigmoid(beta * (s_i - s_j))      every w >= 0
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus

from perpo_core.stages.train.objectives.base import ListBatch
from schemas.train_config import PairChoice


def find_better(batch: ListBatch) -> Tensor:
    """[P, G, G] True where answer i has a higher reward than answer j and both are there."""
    higher_PGG = batch.rewards_PG[:, :, None] > batch.rewards_PG[:, None, :]
    return higher_PGG & batch.mask_PG[:, :, None] & batch.mask_PG[:, None, :]


def find_best(batch: ListBatch) -> Tensor:
    """[P, G] True for the answers that share a list's highest reward."""
    return batch.mask_PG & ~find_better(batch).any(1)


def find_worst(batch: ListBatch) -> Tensor:
    """[P, G] True for the answers that share a list's lowest reward."""
    return batch.mask_PG & ~find_better(batch).any(2)


def find_chosen(batch: ListBatch) -> Tensor:
    """[P, G] True for the best answers, where there is a worse one: the preferred of a list."""
    return find_best(batch) & find_better(batch).any(2)


def choose_all(better_PGG: Tensor) -> Tensor:
    """Every pair."""
    return better_PGG


def choose_best_rest(better_PGG: Tensor) -> Tensor:
    """A best answer against every worse one."""
    return better_PGG & ~better_PGG.any(1)[:, :, None]


def choose_best_worst(better_PGG: Tensor) -> Tensor:
    """A best answer against a worst one."""
    return choose_best_rest(better_PGG) & ~better_PGG.any(2)[:, None, :]


def choose_adjacent(better_PGG: Tensor) -> Tensor:
    """Answers of neighbouring rewards: no answer of the list lies between them."""
    steps_PGG = better_PGG.float()
    return better_PGG & (steps_PGG @ steps_PGG == 0)


PAIR_CHOICES: dict[PairChoice, Callable[[Tensor], Tensor]] = {
    "best_worst": choose_best_worst,
    "best_rest": choose_best_rest,
    "adjacent": choose_adjacent,
    "all": choose_all,
}


def weigh_alike(pairs_PGG: Tensor) -> Tensor:
    """[P, G, G] float64: the pairs of a list weigh alike and sum to 1 (or there is none)."""
    return pairs_PGG / pairs_PGG.sum((1, 2), keepdim=True).clamp(min=1).double()


def compute_margins(batch: ListBatch, beta: float) -> Tensor:
    """[P, G, G] beta * (s_i - s_j); what padding holds never enters."""
    ratios_PG = torch.where(batch.mask_PG, batch.log_ratios_PG, 0.0)
    return beta * (ratios_PG[:, :, None] - ratios_PG[:, None, :])


def compute_pair_loss(margins_PGG: Tensor, weights_PGG: Tensor) -> Tensor:
    """- sum of w_ij * log sigmoid(margin_ij), [P]; softplus, since log(1 + exp) overflows."""
    return (weights_PGG.to(margins_PGG.dtype) * softplus(-margins_PGG)).sum((1, 2))
