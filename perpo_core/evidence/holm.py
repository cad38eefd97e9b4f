"""Holm's correction: what may be called better, out of many comparisons.

Of 10 comparisons of equal methods, one at least comes out below p = 0.05 in a third of all tries.
Holm's step-down procedure (Holm 1979, A simple sequentially rejective multiple test procedure,
Scandinavian Journal of Statistics 6) keeps the chance of even one false claim at 5% whatever the
comparisons have to do with each other, and claims all that Bonferroni's does and more.

Left out: intervals are not widened. Each is a 95% interval of its own comparison, and one that
leaves out 0 may belong to a difference whose direction stays open.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from schemas.evidence_statistics import Difference, Direction, Verdict

ALPHA = 0.05


def adjust_holm(p_values_M: ArrayLike) -> NDArray[np.float64]:
    """[M] adjusted p-values, in the order given: at most alpha where Holm rejects at alpha.

    With p_(1) <= ... <= p_(M): max over j <= i of (M - j + 1) p_(j), and 1 at most. Of 0.01, 0.04,
    0.03 and 0.005: 0.03, 0.06, 0.06, 0.02. Raises ValueError for what is no p-value.
    """
    p_values = np.asarray(p_values_M, dtype=np.float64)
    if p_values.ndim != 1 or not ((p_values >= 0) & (p_values <= 1)).all():
        raise ValueError(f"p-values are a row of numbers from 0 to 1, not {p_values.tolist()}")
    order = np.argsort(p_values, kind="stable")
    stepped = (len(p_values) - np.arange(len(p_values))) * p_values[order]
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return adjusted


def judge_family(differences: Sequence[Difference]) -> list[Verdict]:
    """The direction of every difference, all taken as one family, in the order given.

    Raises ValueError if one has so few resamples that not even the clearest difference could be
    told in a family of this size: p is at least 2 / (R + 1).
    """
    for difference in differences:
        check_resolution(difference.resamples, len(differences))
    adjusted = adjust_holm([difference.p_value for difference in differences])
    return [
        Verdict(
            difference=difference, p_adjusted=p_adjusted, direction=_judge(difference, p_adjusted)
        )
        for difference, p_adjusted in zip(differences, adjusted.tolist(), strict=True)
    ]


def _judge(difference: Difference, p_adjusted: float) -> Direction:
    if p_adjusted >= ALPHA:
        return "open"
    return "better" if difference.delta > 0 else "worse"


def check_resolution(resamples: int, num_comparisons: int) -> None:
    """Raise ValueError where not even the clearest of so many comparisons could be told."""
    least = round(2 * num_comparisons / ALPHA)
    if resamples < least:
        raise ValueError(
            f"{resamples} resamples cannot tell any of {num_comparisons} comparisons from chance; "
            f"ask for at least {least}, better 10000"
        )
