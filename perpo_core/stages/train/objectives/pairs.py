"""Who is better than whom in a list, and which of these pairs a loss compares.

A pair is two answers of different rewards, whatever their positions: i is the better one, j the
other. Answers of equal rewards are no pair. A list that has no pair weighs nothing.

    L = - sum over pairs of w_ij * log sigmoid(beta * (s_i - s_j))      every w >= 0

`hardest`, `nearest` and `popular` take the place of the three rules by which RosePO (arXiv
2410.12519) rejects answers; its abstract names them self-hard, semantically similar and popular,
what exactly each of them is here is ours.
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


def choose_best_rest(batch: ListBatch) -> Tensor:
    """A best answer against every worse one."""
    return find_better(batch) & find_best(batch)[:, :, None]


def choose_best_worst(batch: ListBatch) -> Tensor:
    """A best answer against a worst one."""
    return choose_best_rest(batch) & find_worst(batch)[:, None, :]


def choose_adjacent(batch: ListBatch) -> Tensor:
    """Answers of neighbouring rewards: no answer of the list lies between them."""
    better_PGG = find_better(batch)
    steps_PGG = better_PGG.float()
    return better_PGG & (steps_PGG @ steps_PGG == 0)


def choose_hardest(batch: ListBatch) -> Tensor:
    """A best answer against the worse one that the reference finds most likely."""
    return _keep_highest(choose_best_rest(batch), batch.ref_logps_PG)


def choose_nearest(batch: ListBatch) -> Tensor:
    """A best answer against the worse one that is closest to it."""
    assert batch.closeness_PG is not None
    return _keep_highest(choose_best_rest(batch), batch.closeness_PG)


def choose_popular(batch: ListBatch) -> Tensor:
    """A best answer against the worse one that is commonest over the prompts of its task."""
    assert batch.popularity_PG is not None
    return _keep_highest(choose_best_rest(batch), batch.popularity_PG)


def _keep_highest(pairs_PGG: Tensor, values_PG: Tensor) -> Tensor:
    """The pairs whose worse answer has the highest value among a list's worse answers."""
    worse_PG = pairs_PGG.any(1)
    highest_P1 = torch.where(worse_PG, values_PG, -torch.inf).amax(1, keepdim=True)
    return pairs_PGG & (values_PG == highest_P1)[:, None, :]


PAIR_CHOICES: dict[PairChoice, Callable[[ListBatch], Tensor]] = {
    "best_worst": choose_best_worst,
    "best_rest": choose_best_rest,
    "adjacent": choose_adjacent,
    "all": find_better,
    "hardest": choose_hardest,
    "nearest": choose_nearest,
    "popular": choose_popular,
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
