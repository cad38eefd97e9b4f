"""Which answers to a prompt are compared, and what their wins are worth.

Each of n answers meets the same number of others: those next to it, on either side, in a circle in
the order of their sha256. Where n - 1 others are few enough, all meet all. A comparison is asked
both ways round, since judges favour a place (arXiv 2306.05685, section 3.3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from perpo_core.perception.rewards import RewardResult
from perpo_core.stages.outside.verdicts import Verdict

Pair = tuple[str, str]
"""Two answers in the order in which they are shown."""


@dataclass(frozen=True)
class Comparison:
    """One question, and what was said."""

    pair: Pair
    verdict: Verdict

    def find_share(self, text: str) -> float:
        """What an answer of the pair gets of it: 1 for a win, 0.5 for a tie, 0."""
        value = self.verdict.value
        assert value is not None
        return value if text == self.pair[0] else 1 - value


def choose_pairs(texts: Sequence[str], comparisons: int) -> list[Pair]:
    """Pairs of different answers, each answer in at most `comparisons`, whatever their order.

    >>> len(choose_pairs(list("abcd"), 3)), len(choose_pairs(list("abcdefgh"), 4))
    (6, 16)
    """
    circle = sorted(set(texts), key=lambda text: hashlib.sha256(text.encode()).hexdigest())
    num = len(circle)
    if num - 1 <= comparisons:
        return [(one, other) for n, one in enumerate(circle) for other in circle[n + 1 :]]
    steps = range(1, comparisons // 2 + 1)
    return [(circle[n], circle[(n + step) % num]) for step in steps for n in range(num)]


def compute_wins(text: str, comparisons: Sequence[Comparison]) -> RewardResult:
    """Mean over the questions with this answer: 1 for a win, 0.5 for a tie, 0 for a loss.

    0.5 where there is no other answer. One question without a verdict costs the answer its reward.
    """
    mine = [each for each in comparisons if text in each.pair]
    for each in mine:
        if each.verdict.error is not None:
            return RewardResult(None, error=each.verdict.error, fault=each.verdict.fault)
    if not mine:
        return RewardResult(0.5, parsed={"wins": 0, "questions": 0})
    wins = sum(each.find_share(text) for each in mine)
    return RewardResult(wins / len(mine), parsed={"wins": wins, "questions": len(mine)})
