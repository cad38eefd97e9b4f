"""What was learned, in words: how much each objective counts, and against which other.

Weights hold where they are told: at the chosen setting. The share of an objective is its slope
there in the scale of the first trials; what is worth as much as what, in the objectives' units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from perpo_core.tuning.fronts import Values
from perpo_core.tuning.objectives import Objective
from perpo_core.tuning.standing import Standing

STEP = 0.01
"""Of the objective that is held against another."""


def describe_utility(standing: Standing) -> list[str]:
    """A sentence on what it rests on, then one for each objective; [] while nothing is measured."""
    chosen, scale = standing.chosen, standing.scale
    if chosen is None or scale is None:
        return []
    worth_M = standing.utility.compute_worth(standing.take([chosen.number])[0])
    shares_M = worth_M / np.abs(worth_M).sum()
    return [
        _describe_basis(standing),
        *_describe_weights(standing.objectives, shares_M, worth_M / scale.width_M),
    ]


def _describe_basis(standing: Standing) -> str:
    num, num_told = len(standing.comparisons), len(standing.preferences)
    if not num_told:
        said = "no side was preferred" if num else "nothing was compared yet"
        return f"{said}: every objective counts alike, and more the less there is of it"
    return (
        f"learned from {num} comparisons of user {standing.config.user}, of which {num_told} "
        f"preferred a side and {standing.num_agreeing} of those are met"
    )


def _describe_weights(
    objectives: Sequence[Objective], shares_M: Values, slopes_M: Values
) -> Iterator[str]:
    heaviest = int(np.argmax(shares_M))
    for number, objective in enumerate(objectives):
        said = f"{objective.label}: {shares_M[number]:.0%} of the weight"
        if shares_M[number] < 0:
            said += "; the answers preferred less of it, which contradicts that more is better"
        elif number != heaviest and slopes_M[heaviest] > 0:
            equal = STEP * slopes_M[number] / slopes_M[heaviest]
            said += (
                f"; {STEP:g} {_turn(objective)} is worth as much as {equal:.2g} "
                f"{_turn(objectives[heaviest])} of {objectives[heaviest].label}"
            )
        yield said


def _turn(objective: Objective) -> str:
    return "less" if objective.is_lower_better else "more"


def describe_values(objectives: Sequence[Objective], values: Sequence[float]) -> str:
    """Such as "grounding accuracy at IoU 0.5 0.6120, retention 0.9340"."""
    pairs = zip(objectives, values, strict=True)
    return ", ".join(f"{objective.label} {value:.4f}" for objective, value in pairs)
