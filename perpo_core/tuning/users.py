"""Simulated users: indicators that compare as a person would."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perpo_core.tuning.fronts import (
    Values,
    compute_hypervolume,
    compute_maximum_spread,
    compute_r2,
    compute_spacing,
)
from schemas.tune_config import UserName
from schemas.tuning import Choice

Indicator = Callable[[Values], float]
"""Scaled values [N, M] -> how good they are together; more is better."""
INDICATORS: Mapping[UserName, Indicator] = {
    "hypervolume": compute_hypervolume,
    "spacing": compute_spacing,
    "maximum_spread": compute_maximum_spread,
    "r2": compute_r2,
}


def choose(indicator: Indicator, first_NM: Values, second_NM: Values) -> Choice:
    """What a user who sees the indicator alone answers."""
    first, second = indicator(first_NM), indicator(second_NM)
    return "first" if first > second else "second" if second > first else "same"
