"""What the user is asked, and when.

Of single settings, the pair that tells most is asked about: that whose features differ most across
the present weights, since along them the answer is known. Pairs of which one is better in every
objective tell nothing and are passed over. Of fronts, every question divides the trials at random
into two halves, and shows the front of each. No two sides are shown against each other twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from perpo_core.store.keys import compute_hash
from perpo_core.tuning.fronts import Values, find_front
from perpo_core.tuning.utility import Utility, compute_features
from schemas.tune_config import TuneConfig

Pair = frozenset[frozenset[int]]
"""The rows of two sides, whichever stands first."""
MAX_DRAWS = 20
"""Halves that are drawn to find two fronts of which neither is better throughout."""


@dataclass(frozen=True)
class Question:
    """Two sides, by the numbers of their trials, ascending."""

    number: int
    """How many were answered before."""
    first: tuple[int, ...]
    second: tuple[int, ...]


def count_wanted(config: TuneConfig, num_ended: int) -> int:
    """How many comparisons there should be once so many trials have ended.

    >>> config = TuneConfig(trials=16, startup=6, rounds=2, comparisons=8)
    >>> [count_wanted(config, num) for num in (5, 6, 10, 11, 16)]
    [0, 8, 8, 16, 16]
    """
    between = (config.trials - config.startup) / config.rounds
    marks = [config.startup + round(number * between) for number in range(config.rounds)]
    return config.comparisons * sum(num_ended >= mark for mark in marks)


def build_pair(first: Iterable[int], second: Iterable[int]) -> Pair:
    """What tells a question from others."""
    return frozenset({frozenset(first), frozenset(second)})


def find_pair(
    scaled_NM: Values, utility: Utility, asked: Collection[Pair]
) -> tuple[int, int] | None:
    """The two settings, by row, that are asked about next; None where all that tell were."""
    features_NF = compute_features(scaled_NM)
    direction_F = utility.weights_F / np.linalg.norm(utility.weights_F)
    best, best_told = None, 0.0
    for pair in combinations(range(len(scaled_NM)), 2):
        difference_M = scaled_NM[pair[0]] - scaled_NM[pair[1]]
        if build_pair(pair[:1], pair[1:]) in asked or not _pulls_apart(difference_M):
            continue
        difference_F = features_NF[pair[0]] - features_NF[pair[1]]
        told = difference_F @ difference_F - (difference_F @ direction_F) ** 2
        if best is None or told > best_told:
            best, best_told = pair, told
    return best


def _pulls_apart(difference_M: Values) -> bool:
    return bool((difference_M > 0).any() and (difference_M < 0).any())


def divide(
    scaled_NM: Values, seed: int, number: int, asked: Collection[Pair] = ()
) -> tuple[list[int], list[int]] | None:
    """The fronts, by row, of two halves; None where none was drawn that tells something new.

    The same seed, number, settings and pairs give the same halves.
    """
    if len(scaled_NM) < 2:
        return None
    for draw in range(MAX_DRAWS):
        generator = np.random.default_rng(int(compute_hash([seed, number, draw])[:16], 16))
        order = generator.permutation(len(scaled_NM))
        halves = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
        fronts = [[int(half[row]) for row in find_front(scaled_NM[half])] for half in halves]
        if build_pair(*fronts) not in asked and not _is_decided(scaled_NM, *fronts):
            return fronts[0], fronts[1]
    return None


def _is_decided(scaled_NM: Values, first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether every setting of one front is dominated by, or equal to, one of the other."""
    pairs = ((first, second), (second, first))
    return any(
        all((scaled_NM[list(others)] >= scaled_NM[row]).all(axis=1).any() for row in rows)
        for rows, others in pairs
    )
