"""Fronts and their indicators, against slow ones written from their definitions."""

from __future__ import annotations

from itertools import combinations, product
from math import prod, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perpo_core.tuning.fronts import (
    MARGIN,
    R2_DIVISIONS,
    Values,
    compute_hypervolume,
    compute_maximum_spread,
    compute_r2,
    compute_spacing,
    find_front,
)

INDICATORS = (compute_hypervolume, compute_spacing, compute_maximum_spread, compute_r2)
MONOTONE = (compute_hypervolume, compute_r2)


def points(max_settings: int = 6) -> st.SearchStrategy[Values]:
    """Some settings; few distinct values, so that ties are common."""
    shapes = st.tuples(st.integers(1, max_settings), st.integers(1, 4))
    values = st.sampled_from([-0.2, 0.0, 0.25, 0.5, 0.75, 1.0, 1.3])
    return shapes.flatmap(lambda shape: arrays(np.float64, shape, elements=values))


def find_slow_front(values: Values) -> list[int]:
    def beats(a: Values, b: Values) -> bool:
        return all(x >= y for x, y in zip(a, b, strict=True)) and any(
            x > y for x, y in zip(a, b, strict=True)
        )

    return [n for n, mine in enumerate(values) if not any(beats(other, mine) for other in values)]


def compute_slow_hypervolume(values: Values) -> float:
    """Inclusion and exclusion of the boxes from -MARGIN to each setting."""
    total = 0.0
    for size in range(1, len(values) + 1):
        for chosen in combinations(values, size):
            corner = np.min(chosen, axis=0)
            volume = prod(max(0.0, float(value) + MARGIN) for value in corner)
            total += volume if size % 2 else -volume
    return total


def compute_slow_spacing(values: Values) -> float:
    if len(values) < 2:
        return 0.0
    nearest = [
        min(sum(abs(a - b)) for other, b in enumerate(values) if other != number)
        for number, a in enumerate(values)
    ]
    mean = sum(nearest) / len(nearest)
    return -sqrt(sum((mean - each) ** 2 for each in nearest) / (len(nearest) - 1))


def compute_slow_spread(values: Values) -> float:
    return sqrt(sum((max(column) - min(column)) ** 2 for column in values.T))


def compute_slow_r2(values: Values) -> float:
    parts = range(R2_DIVISIONS + 1)
    weights = [
        [part / R2_DIVISIONS for part in each]
        for each in product(parts, repeat=values.shape[1])
        if sum(each) == R2_DIVISIONS
    ]
    best = [
        min(max(w * (1 + MARGIN - v) for w, v in zip(each, mine, strict=True)) for mine in values)
        for each in weights
    ]
    return -sum(best) / len(best)


SLOW = (compute_slow_hypervolume, compute_slow_spacing, compute_slow_spread, compute_slow_r2)


@given(points())
def test_each_indicator_is_what_its_definition_says(values: Values) -> None:
    for fast, slow in zip(INDICATORS, SLOW, strict=True):
        assert fast(values) == pytest.approx(slow(values), abs=1e-12)


@given(points())
def test_the_front_is_what_nothing_dominates(values: Values) -> None:
    assert find_front(values) == find_slow_front(values)


@given(points(), st.randoms(use_true_random=False))
def test_the_order_of_settings_and_of_objectives_is_free(values: Values, random: object) -> None:
    seed = random.randrange(2**31)  # type: ignore[attr-defined]
    generator = np.random.default_rng(seed)
    rows, columns = (generator.permutation(size) for size in values.shape)
    for indicator in INDICATORS:
        shuffled = indicator(values[rows][:, columns])
        assert shuffled == pytest.approx(indicator(values), abs=1e-12)


@given(points(), st.integers(0, 5), st.integers(0, 3))
def test_more_of_anything_is_never_worse(values: Values, row: int, column: int) -> None:
    better = values.copy()
    better[row % len(values), column % values.shape[1]] += 0.25
    for indicator in MONOTONE:
        assert indicator(better) >= indicator(values) - 1e-12


@given(points())
def test_what_the_front_dominates_adds_nothing(values: Values) -> None:
    front = values[find_front(values)]
    for indicator in MONOTONE:
        assert indicator(front) == pytest.approx(indicator(values), abs=1e-12)


def test_by_hand() -> None:
    extremes = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert compute_hypervolume(extremes) == pytest.approx(0.21)
    assert compute_hypervolume(np.array([[0.5, 0.5]])) == pytest.approx(0.36)
    assert compute_hypervolume(np.array([[1.0, -0.2]])) == 0.0
    assert compute_maximum_spread(extremes) == pytest.approx(sqrt(2))
    # Nearest neighbours at 0.2, 0.2 and 1.8 in sum of differences: mean 2.2/3.
    row = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0]])
    assert compute_spacing(row) == pytest.approx(-0.923760, abs=1e-6)
    # One objective has one weight, 1: the distance of 0.4 to 1.1.
    assert compute_r2(np.array([[0.4], [0.1]])) == pytest.approx(-0.7)
    # Weights (w, 1 - w) of (0.1, 0.1): the mean of max(w, 1 - w), eleven of them, is 8.5 / 11.
    assert compute_r2(np.array([[0.1, 0.1]])) == pytest.approx(-8.5 / 11)


def test_a_single_setting_has_no_shape() -> None:
    alone = np.array([[0.3, 0.8]])
    assert compute_spacing(alone) == 0.0
    assert compute_maximum_spread(alone) == 0.0
    assert find_front(alone) == [0]


def test_equal_settings_are_both_on_the_front() -> None:
    assert find_front(np.array([[0.5, 0.5], [0.5, 0.5], [0.4, 0.5]])) == [0, 1]
