"""Which answers of a list are put against each other; two of equal rewards are no pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from perpo_core.export.lists.ranked import Row
from schemas.exports import PairsName

TIE = "equal rewards"
SMALL_GAP = "gap below --min-gap"
GAP_TOLERANCE = 1e-9  # 1 - 0.96 is 0.04 and 0.84 - 0.8 is 0.0399999999999999

PAIRINGS: dict[PairsName, Callable[[int], Iterable[tuple[int, int]]]] = {
    "best-worst": lambda num: [(0, num - 1)],
    "best-rest": lambda num: [(0, place) for place in range(1, num)],
    "adjacent": lambda num: pairwise(range(num)),
    "all": lambda num: combinations(range(num), 2),
    "list": lambda num: (),
}
"""Places in a list of that many answers, the best first."""


@dataclass(frozen=True)
class Pair:
    """Two answers of a list, schemas.arrow.RESPONSE; the first has the higher reward."""

    better: Row
    worse: Row


def choose_pairs(
    answers: Sequence[Row], choice: PairsName, min_gap: float
) -> tuple[list[Pair], Counter[str]]:
    """The pairs of a list, and how many were left out by which reason."""
    pairs, dropped = [], Counter[str]()
    for first, second in PAIRINGS[choice](len(answers)):
        pair = Pair(answers[first], answers[second])
        gap = pair.better["reward"] - pair.worse["reward"]
        if gap <= 0:
            dropped[TIE] += 1
        elif is_small(gap, min_gap):
            dropped[SMALL_GAP] += 1
        else:
            pairs.append(pair)
    return pairs, dropped


def is_small(gap: float, min_gap: float) -> bool:
    """Whether a gap of rewards is below what was asked for."""
    return gap < min_gap - GAP_TOLERANCE
