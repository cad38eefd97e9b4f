"""A person's utility, learned from pairs of which one was preferred.

RankSVM (Joachims 2002): a linear support vector machine on differences of features, without a
constant, so that U(preferred) - U(other) shall be positive, by a margin where that can be. The
paper's features are the flattened front (arXiv 2309.03581); ours are two of each objective, its
value x and minus its shortfall squared, -max(0, 1 - x)^2, in the scale of the first trials. The
utility is linear in them. With the second one a balance can be preferred to either extreme, which
a utility linear in the values never does where a front is bent inwards; and a person to whom every
bit more is worth the same is in reach too. A front counts by the mean over its settings.

Axes: N settings, M objectives, F = 2 M features, P preferences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perpo_core.tuning.fronts import Values

PENALTY = 100.0
"""Of a preference that is not met, against the length of the weights: answers are mostly right."""
PRIOR_WEIGHT = 0.1
"""Of "more is better, in each feature", counted in preferences: it decides where nothing was said
of an objective, and keeps equal weights where nothing was said at all."""
MAX_ITERATIONS = 100_000
Preference = tuple[Values, Values]
"""Scaled values [N, M] of what was preferred, and of the other."""


@dataclass(frozen=True)
class Scale:
    """What 0 and 1 are of every objective."""

    low_M: Values
    width_M: Values

    def apply(self, values_NM: Values) -> Values:
        """Values in this scale; they may lie outside of 0 and 1."""
        scaled: Values = (values_NM - self.low_M) / self.width_M
        return scaled


def build_scale(values_NM: Values) -> Scale:
    """From the least to the most of some settings; 1 wide where all are alike."""
    low_M, high_M = values_NM.min(axis=0), values_NM.max(axis=0)
    return Scale(low_M, np.where(high_M > low_M, high_M - low_M, 1.0))


def compute_features(scaled_NM: Values) -> Values:
    """Features [N, F] of settings: their values, then minus their shortfalls squared."""
    return np.hstack([scaled_NM, -(np.clip(1 - scaled_NM, 0, None) ** 2)])


@dataclass(frozen=True)
class Utility:
    """Learned weights, of length 1 in sum of absolute values."""

    weights_F: Values

    def compute(self, scaled_NM: Values) -> Values:
        """The utility [N] of settings."""
        utilities: Values = compute_features(scaled_NM) @ self.weights_F
        return utilities

    def prefers(self, first_NM: Values, second_NM: Values) -> float:
        """How much more the first set is worth than the second."""
        return float(self.compute(first_NM).mean() - self.compute(second_NM).mean())

    def compute_worth(self, scaled_M: Values) -> Values:
        """What a bit more of each objective is worth at a setting: the slope [M] there."""
        value_M, shortfall_M = np.split(self.weights_F, 2)
        worth: Values = value_M + 2 * shortfall_M * np.clip(1 - scaled_M, 0, None)
        return worth


def learn_utility(preferences: Sequence[Preference], num_objectives: int) -> Utility:
    """The utility of who answered so; equal weights where nobody has.

    Answers that contradict each other are weighed; none is left out.
    """
    from sklearn.svm import LinearSVC  # slow to import, and equal weights need none

    num_features = 2 * num_objectives
    if not preferences:
        return Utility(np.full(num_features, 1 / num_features))
    rows = [_compute_difference(better, worse) for better, worse in preferences]
    differences_PF = np.vstack([*rows, np.eye(num_features)])
    weights_P = np.r_[np.ones(len(rows)), np.full(num_features, PRIOR_WEIGHT)]
    machine = LinearSVC(C=PENALTY, fit_intercept=False, tol=1e-8, max_iter=MAX_ITERATIONS)
    machine.fit(
        np.vstack([differences_PF, -differences_PF]),
        np.repeat([1, -1], len(differences_PF)),
        np.tile(weights_P, 2),
    )
    weights_F = machine.coef_[0]
    return Utility(weights_F / np.abs(weights_F).sum())


def _compute_difference(better_NM: Values, worse_NM: Values) -> Values:
    """Of the mean features [F] of two sets of settings."""
    return compute_features(better_NM).mean(axis=0) - compute_features(worse_NM).mean(axis=0)
