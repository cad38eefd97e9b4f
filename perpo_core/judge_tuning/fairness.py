"""How fair a judge's choices are: whether the place in which an answer is shown decides.

ZEPO (arXiv 2406.11370; its code, github.com/cambridgeltl/zepo, pairs/pairs_eval.py, get_a_rate):
every pair of answers is compared both ways round. Of each document, P(first) is the share of the
comparisons that the answer shown first wins, among those that one of the two wins; fairness is
-|P(first) - 1/2| of the mean over the documents. There it is read from the probabilities of two
letters, here from what the judge says [OURS]. Consistency, and what an instruction has to decide to
be of use, are ours too: a coin and a judge that calls everything a tie are as fair as can be.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from perpo_core.stages.outside.order import Pair
from perpo_core.stages.outside.verdicts import Verdict

HALF = Fraction(1, 2)
LEAST_DECIDED = HALF  # of what the first instruction leads the judge to decide


@dataclass(frozen=True)
class Choice:
    """What a judge said of two answers to a document."""

    document: str
    """sample_id."""
    pair: Pair
    forth: Verdict
    """Shown as the pair stands; its value is what the answer shown first gets."""
    back: Verdict
    """Shown the other way round; again of the answer shown first, which is the pair's second."""

    @property
    def verdicts(self) -> tuple[Verdict, Verdict]:
        return self.forth, self.back

    @property
    def share(self) -> float | None:
        """What the pair's first answer gets of both; None where one has no verdict."""
        if self.forth.value is None or self.back.value is None:
            return None
        return (self.forth.value + 1 - self.back.value) / 2


@dataclass(frozen=True)
class Fairness:
    """Of the choices under an instruction; exact, so that equal ones are equal."""

    first_share: Fraction | None
    """P(first); None where nothing was decided."""
    consistency: Fraction | None
    """Of the pairs decided both ways round, those in which one answer won both; None of none."""
    num_decided: int
    num_tied: int
    num_unread: int
    first_error: str | None = None
    """Of the comparisons without a verdict."""

    @property
    def fairness(self) -> Fraction | None:
        """-|P(first) - 1/2|: -1/2 where the place alone decides, 0 at best."""
        return None if self.first_share is None else -abs(self.first_share - HALF)

    @property
    def rank(self) -> tuple[Fraction, Fraction]:
        """Fairness, of equally fair ones consistency: the larger, the better."""
        worst = Fraction(-1)
        return (
            worst if self.fairness is None else self.fairness,
            worst if self.consistency is None else self.consistency,
        )

    def is_of_use(self, first: Fairness) -> bool:
        """Whether the judge decides enough, of what it decides under the first instruction."""
        return 0 < self.num_decided >= LEAST_DECIDED * first.num_decided


def compute_fairness(choices: Sequence[Choice]) -> Fairness:
    """Of all choices under an instruction.

    By hand: of one document (A, B) won by whatever is first, (A, C) by A both ways round; of
    another (D, E) by whatever is first: P(first) = (3/4 + 2/2)/2 = 7/8, fairness -3/8, consistency
    1/3.
    """
    values = [v.value for choice in choices for v in choice.verdicts]
    errors = [v.error for choice in choices for v in choice.verdicts if v.error is not None]
    return Fairness(
        compute_first_share(choices),
        compute_consistency(choices),
        num_decided=values.count(1.0) + values.count(0.0),
        num_tied=values.count(0.5),
        num_unread=values.count(None),
        first_error=errors[0] if errors else None,
    )


def compute_first_share(choices: Sequence[Choice]) -> Fraction | None:
    """P(first); a document in which nothing was decided is left out, None where none is left."""
    wins: dict[str, int] = defaultdict(int)
    decided: dict[str, int] = defaultdict(int)
    for choice in choices:
        for verdict in choice.verdicts:
            wins[choice.document] += verdict.value == 1
            decided[choice.document] += verdict.value in (0, 1)
    shares = [Fraction(wins[name], num) for name, num in decided.items() if num]
    return sum(shares, Fraction()) / len(shares) if shares else None


def compute_consistency(choices: Sequence[Choice]) -> Fraction | None:
    """Share of the pairs decided both ways round in which one answer won both."""
    decided = [c for c in choices if c.forth.value in (0, 1) and c.back.value in (0, 1)]
    if not decided:
        return None
    return Fraction(sum(c.forth.value != c.back.value for c in decided), len(decided))
