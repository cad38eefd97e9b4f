"""Pareto fronts, and indicators of how good one is.

Axes: N settings, M objectives. Every objective is better the more there is of it; indicators see
them scaled, so that 0 and 1 are the least and most of the first trials (utility.py, Scale). Each
indicator here is better the more there is of it, too, so that spacing and R2 are negative.

Left out: approximate hypervolumes; a study has tens of trials and a handful of objectives.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
MARGIN = 0.1
"""How far below 0 hypervolume begins, so that a setting which is worst in one objective counts by
the others, and how far above 1 lies the point that R2 measures from."""
R2_DIVISIONS = 10
"""Weights of R2 are all multiples of 1/10 that add up to 1."""


def find_front(values_NM: Values) -> list[int]:
    """Numbers of the settings that no other one is better than, ascending; equal ones all count.

    One is better if it has no less of any objective and more of one.
    """
    is_no_worse_NN = (values_NM[:, None] >= values_NM[None]).all(axis=2)
    is_better_NN = is_no_worse_NN & ~is_no_worse_NN.T
    return [int(number) for number in np.flatnonzero(~is_better_NN.any(axis=0))]


def compute_hypervolume(values_NM: Values) -> float:
    """Volume of what the settings dominate, down to -MARGIN in every objective.

    Exact, by slices along the last objective (Zitzler and Thiele 1998 give the measure). Of (1, 0)
    and (0, 1): 1.1 x 0.1 twice, and 0.1 x 0.1 is in both: 0.21.
    """
    heights_NM = np.clip(values_NM + MARGIN, 0.0, None)
    return _measure(heights_NM[(heights_NM > 0).all(axis=1)])


def _measure(heights_NM: Values) -> float:
    if not len(heights_NM):
        return 0.0
    if heights_NM.shape[1] == 1:
        return float(heights_NM.max())
    levels = [0.0, *np.unique(heights_NM[:, -1])]
    return sum(
        float(above - below) * _measure(heights_NM[heights_NM[:, -1] >= above][:, :-1])
        for below, above in pairwise(levels)
    )


def compute_spacing(values_NM: Values) -> float:
    """Minus the standard deviation, N - 1, of the distances to the nearest neighbour (Schott 1995).

    Distances are sums of absolute differences. 0, which is the best, for fewer than two settings.
    """
    if len(values_NM) < 2:
        return 0.0
    distances_NN = np.abs(values_NM[:, None] - values_NM[None]).sum(axis=2)
    np.fill_diagonal(distances_NN, np.inf)
    return -float(distances_NN.min(axis=1).std(ddof=1))


def compute_maximum_spread(values_NM: Values) -> float:
    """Diagonal of the box around the settings (Zitzler 1999); 0 for a single one."""
    return float(np.linalg.norm(np.ptp(values_NM, axis=0)))


def compute_r2(values_NM: Values) -> float:
    """Minus the mean over many weights of the least weighted distance to an ideal point.

    R2 of Hansen and Jaszkiewicz (1998) with weighted Chebyshev distances: mean over weights of
    min over settings of max over objectives of weight x (1 + MARGIN - value). What exceeds the
    ideal has a negative distance, so that more is better there as well.
    """
    distances_NM = 1 + MARGIN - values_NM
    weighted_WNM = _build_weights(values_NM.shape[1])[:, None] * distances_NM[None]
    return -float(weighted_WNM.max(axis=2).min(axis=1).mean())


def _build_weights(num_objectives: int) -> Values:
    """All weights [W, M] of R2_DIVISIONS parts."""
    if num_objectives == 1:
        return np.ones((1, 1))
    grid = np.indices((R2_DIVISIONS + 1,) * (num_objectives - 1)).reshape(num_objectives - 1, -1).T
    within = grid[grid.sum(axis=1) <= R2_DIVISIONS]
    return np.column_stack([within, R2_DIVISIONS - within.sum(axis=1)]) / R2_DIVISIONS
