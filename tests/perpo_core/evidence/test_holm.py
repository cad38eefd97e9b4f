from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.evidence.holm import adjust_holm, judge_family
from schemas.evidence_statistics import Difference

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def make_difference(p_value: float, delta: float = 0.1, resamples: int = 10_000) -> Difference:
    return Difference(
        delta=delta, low=delta, high=delta, p_value=p_value, effect_size=None, se=0.0,
        seeds=5, prompts=10, images=10, resamples=resamples,
    )  # fmt: skip


def reject_slowly(p_values: list[float], alpha: float) -> list[bool]:
    """Holm 1979 as it is said: the smallest against alpha / M, the next against alpha / (M - 1),
    and so on; stop at the first that is not rejected."""
    rejected = [False] * len(p_values)
    for done, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] * (len(p_values) - done) > alpha:
            break
        rejected[index] = True
    return rejected


def test_adjusted_by_hand() -> None:
    """4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04, which is not below the one before."""
    np.testing.assert_allclose(adjust_holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(adjust_holm([0.5, 0.4]), [0.8, 0.8])
    np.testing.assert_allclose(adjust_holm([0.9, 0.7]), [1.0, 1.0])
    np.testing.assert_allclose(adjust_holm([0.03]), [0.03])
    assert adjust_holm([]).shape == (0,)


@given(P_VALUES, st.floats(0.001, 0.5))
def test_adjusted_values_reject_what_the_procedure_rejects(
    p_values: list[float], alpha: float
) -> None:
    assert (adjust_holm(p_values) <= alpha).tolist() == reject_slowly(p_values, alpha)


@given(P_VALUES)
def test_between_no_correction_and_bonferroni_and_free_of_order(p_values: list[float]) -> None:
    adjusted = adjust_holm(p_values)
    assert (adjusted >= p_values).all()
    assert (adjusted <= np.minimum(1, len(p_values) * np.array(p_values)) + 1e-12).all()
    np.testing.assert_array_equal(adjust_holm(p_values[::-1]), adjusted[::-1])


@pytest.mark.parametrize("p_values", [[0.1, 1.1], [-0.1], [float("nan")], [[0.1]]])
def test_what_is_no_p_value(p_values: list[float]) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        adjust_holm(p_values)


def test_directions_want_the_adjusted_value() -> None:
    """0.03 would do alone; the smallest but one of four, it counts twice."""
    verdicts = judge_family(
        [
            make_difference(0.001),
            make_difference(0.03),
            make_difference(0.002, delta=-0.1),
            make_difference(0.5),
        ]
    )
    assert [verdict.direction for verdict in verdicts] == ["better", "open", "worse", "open"]
    assert [verdict.p_adjusted for verdict in verdicts] == pytest.approx([0.004, 0.06, 0.006, 0.5])


def test_too_few_resamples_for_the_family_are_refused() -> None:
    with pytest.raises(ValueError, match=r"399 resamples .* 10 comparisons .* at least 400"):
        judge_family([make_difference(0.5, resamples=399)] * 10)
    clearest = make_difference(2 / 401, resamples=400)
    verdicts = judge_family([clearest] + [make_difference(0.5, resamples=400)] * 9)
    assert verdicts[0].direction == "better"


def test_an_empty_family() -> None:
    assert judge_family([]) == []
