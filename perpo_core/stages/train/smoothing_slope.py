"""RosePO's smoothing by gap: how soon a gap of rewards can be trusted, by second rewards.

The order of two answers by the total may be wrong. Where a task has several rewards, each but the
total's own is a second opinion, and the share of pairs that they turn round, by the gap of the
totals, is what the slope k predicts:

    P(turned round | gap) = 1 / (1 + exp(k * gap))

fitted by maximum likelihood over all pairs of different totals of all lists, every opinion that
tells the two answers apart counted once. Where only one reward of a task weighs anything, the total
is that reward, which has no opinion on itself.

This is ours (RosePO, arXiv 2410.12519, asks a preference oracle). One would fit on the validation
split; no answer to it is scored before a training, so the training lists are taken: one number,
from thousands of opinions that the loss never sees.

By hand: all gaps 1, a fourth turned round: k = ln 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perpo_core.perception.judging import get_choice
from perpo_core.perception.mixtures import build_mixture
from perpo_core.stages.train.second_rewards import ScoredList
from schemas.config import ScoreConfig
from schemas.train_config import MAX_SMOOTHING_SLOPE

SHOWN_GAPS = (0.1, 0.5)
WAYS_OUT = (
    "give a task of [score] another second reward (a weight of 0 adds nothing to the total), or "
    "set train.smoothing_slope"
)


def list_second_rewards(config: ScoreConfig, task: str) -> dict[str, int]:
    """Rewards of a task that can judge otherwise than its total -> 1, or -1: less is better."""
    parts = build_mixture(get_choice(config, task)).parts
    num_weighing = sum(part.weight != 0 for part in parts)
    return {
        part.reward.name: -1 if part.weight < 0 else 1
        for part in parts
        if not (part.weight and num_weighing == 1)
    }


@dataclass(frozen=True)
class Opinions:
    """N judgements of second rewards on pairs of answers."""

    gaps_N: NDArray[np.float32]
    """Of the totals, better minus worse; negative where the second reward turns the pair round."""
    names: frozenset[str]
    """Of those rewards."""

    @property
    def share_reversed(self) -> float:
        return float((self.gaps_N < 0).mean())

    @property
    def summary(self) -> str:
        said = f"{self.share_reversed:.1%} of {len(self.gaps_N)} pairs"
        return f"{', '.join(sorted(self.names))} turn round {said}"


def collect_opinions(lists: Iterable[ScoredList], config: ScoreConfig) -> Opinions:
    """Of every second reward on every pair of different totals that it tells apart."""
    found, names = [np.zeros(0, np.float32)], set()
    seconds_of: dict[str, dict[str, int]] = {}
    for each in lists:
        if each.task not in seconds_of:
            seconds_of[each.task] = list_second_rewards(config, each.task)
        for name, sign in seconds_of[each.task].items():
            seconds = [sign * rewards[name] for rewards in each.rewards_G]
            found.append(_judge_pairs(np.array(each.totals_G), np.array(seconds)))
            names.add(name)
    return Opinions(np.concatenate(found), frozenset(names))


def _judge_pairs(
    totals_G: NDArray[np.float64], seconds_G: NDArray[np.float64]
) -> NDArray[np.float32]:
    gaps_GG = totals_G[:, None] - totals_G[None, :]
    signs_GG = np.sign(seconds_G[:, None] - seconds_G[None, :])
    return (gaps_GG * signs_GG)[(gaps_GG > 0) & (signs_GG != 0)].astype(np.float32)


def fit_slope(opinions: Opinions) -> float:
    """The likeliest slope, in (0, MAX_SMOOTHING_SLOPE]; that bound where no pair is turned round.

    Raises ValueError where there is no opinion, or where they turn pairs round so often that no
    gap is worth anything.
    """
    from scipy.optimize import brentq  # slow to import, and for this alone

    gaps_N = opinions.gaps_N.astype(np.float64)
    if not len(gaps_N):
        raise ValueError(
            "objective rosepo has nothing to fit its smoothing by, since no second reward tells "
            f"two answers of a list apart; {WAYS_OUT}"
        )

    def differentiate(slope: float) -> float:
        """The log-likelihood's mean derivative, which falls with the slope."""
        with np.errstate(over="ignore"):  # exp of a sure pair; 1 / inf is its share
            return float((gaps_N / (1 + np.exp(slope * gaps_N))).mean())

    if differentiate(0.0) <= 0:
        raise ValueError(
            f"objective rosepo cannot trust any gap of rewards: {opinions.summary}, and the wider "
            f"ones no less often; {WAYS_OUT}"
        )
    if differentiate(MAX_SMOOTHING_SLOPE) >= 0:
        return MAX_SMOOTHING_SLOPE
    return float(brentq(differentiate, 0.0, MAX_SMOOTHING_SLOPE))


def describe_fit(slope: float, opinions: Opinions) -> str:
    """What was fitted, in a line."""
    shares = (f"{1 / (1 + np.exp(slope * gap)):.2g} at a gap of {gap}" for gap in SHOWN_GAPS)
    return f"smoothing: {opinions.summary}; slope {slope:.4g}, eps {', '.join(shares)}"
