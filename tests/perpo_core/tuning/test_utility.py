"""The utility is that of who answered: planted weights are found again from comparisons alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.tuning.fronts import Values, compute_hypervolume
from perpo_core.tuning.users import INDICATORS, choose
from perpo_core.tuning.utility import (
    Preference,
    Scale,
    Utility,
    build_scale,
    compute_features,
    learn_utility,
)

Worth = Callable[[Values], float]


def compare(settings_NM: Values, worth: Worth, num: int, seed: int) -> list[Preference]:
    """Pairs at random, the better one first."""
    generator = np.random.default_rng(seed)
    pairs = [settings_NM[generator.choice(len(settings_NM), 2, replace=False)] for _ in range(num)]
    return [
        (pair[:1], pair[1:]) if worth(pair[0]) > worth(pair[1]) else (pair[1:], pair[:1])
        for pair in pairs
    ]


def measure_agreement(utility: Utility, pairs: list[Preference]) -> float:
    return float(np.mean([utility.prefers(better, worse) > 0 for better, worse in pairs]))


@pytest.mark.parametrize("weights", [(0.7, 0.2, 0.1), (0.2, 0.2, 0.6), (0.34, 0.33, 0.33)])
def test_planted_linear_weights_are_found(weights: tuple[float, ...]) -> None:
    settings = np.random.default_rng(1).uniform(size=(400, 3))
    worth = np.array(weights)
    utility = learn_utility(compare(settings, lambda x: float(x @ worth), 200, 2), 3)
    slopes = utility.compute_worth(np.full(3, 0.5))
    assert slopes / slopes.sum() == pytest.approx(worth, abs=0.06)
    unseen = compare(settings, lambda x: float(x @ worth), 500, 3)
    assert measure_agreement(utility, unseen) > 0.95


def test_a_person_who_wants_balance_is_understood_where_the_front_is_bent_inwards() -> None:
    """There, no utility that is linear in the values prefers the middle to both ends."""
    angles = np.linspace(0, np.pi / 2, 41)
    arc = np.column_stack([1 - np.cos(angles), 1 - np.sin(angles)])
    worth: Worth = lambda x: compute_hypervolume(x[None])  # noqa: E731
    utility = learn_utility(compare(arc, worth, 30, 0), 2)
    best = arc[int(np.argmax(utility.compute(arc)))]
    assert best == pytest.approx(np.full(2, 1 - np.sqrt(0.5)), abs=0.1)
    for weight in np.linspace(0, 1, 11):
        assert int(np.argmax(arc @ [weight, 1 - weight])) in (0, 40)


def test_answers_that_are_now_and_then_wrong_are_outweighed() -> None:
    settings, worth = np.random.default_rng(4).uniform(size=(200, 2)), np.array([0.8, 0.2])
    pairs = compare(settings, lambda x: float(x @ worth), 60, 5)
    noisy = [(b, a) if number % 10 == 0 else (a, b) for number, (a, b) in enumerate(pairs)]
    unseen = compare(settings, lambda x: float(x @ worth), 500, 6)
    assert measure_agreement(learn_utility(noisy, 2), unseen) > 0.85


def test_a_front_counts_by_the_mean_of_its_settings() -> None:
    utility = Utility(np.array([0.5, 0.3, 0.1, 0.1]))
    front, alone = np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([[0.9, 0.1]])
    expected = np.mean([utility.compute(front[:1])[0], utility.compute(front[1:])[0]])
    assert utility.prefers(front, alone) == pytest.approx(expected - utility.compute(alone)[0])
    assert utility.prefers(front, front[::-1]) == pytest.approx(0, abs=1e-15)


def test_nothing_said_leaves_equal_weights() -> None:
    assert learn_utility([], 3).weights_F == pytest.approx(np.full(6, 1 / 6))


def test_more_stays_better_of_what_nothing_was_said_of() -> None:
    better, worse = np.array([[0.8, 0.5, 0.5]]), np.array([[0.3, 0.5, 0.5]])
    utility = learn_utility([(better, worse)], 3)
    assert (utility.compute_worth(np.full(3, 0.5)) > 0).all()


def test_contradictions_are_weighed_and_break_nothing() -> None:
    a, b = np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])
    utility = learn_utility([(a, b), (b, a)], 2)
    assert utility.prefers(a, b) == pytest.approx(0, abs=1e-6)
    assert learn_utility([(a, b), (a, b), (b, a)], 2).prefers(a, b) > 0


def test_by_hand() -> None:
    assert compute_features(np.array([[0.5, 1.2]])).tolist() == [[0.5, 1.2, -0.25, 0.0]]
    utility = Utility(np.array([0.4, 0.3, 0.2, 0.1]))
    # 0.4 x 0.5 + 0.3 x 1.2 - 0.2 x 0.25 = 0.51; slopes 0.4 + 2 x 0.2 x 0.5 = 0.6, and 0.3.
    assert utility.compute(np.array([[0.5, 1.2]])) == pytest.approx([0.51])
    assert utility.compute_worth(np.array([0.5, 1.2])) == pytest.approx([0.6, 0.3])


@given(st.lists(st.floats(-0.5, 0.9), min_size=2, max_size=2), st.integers(0, 1))
def test_the_worth_is_the_slope(setting: list[float], objective: int) -> None:
    utility = Utility(np.array([0.4, 0.1, 0.2, 0.3]))
    step = np.zeros(2)
    step[objective] = 1e-6
    here = np.array(setting)
    up, down = (utility.compute((here + sign * step)[None])[0] for sign in (1, -1))
    assert utility.compute_worth(here)[objective] == pytest.approx((up - down) / 2e-6, abs=1e-6)


def test_the_scale_is_from_least_to_most_and_1_where_all_are_alike() -> None:
    scale = build_scale(np.array([[0.2, 5.0], [0.6, 5.0]]))
    assert scale.apply(np.array([[0.4, 5.5], [0.8, 5.0]])) == pytest.approx(
        np.array([[0.5, 0.5], [1.5, 0.0]])
    )
    assert isinstance(scale, Scale)


def test_simulated_users_answer_by_their_indicator() -> None:
    wide, middle = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.6, 0.6]])
    assert choose(INDICATORS["hypervolume"], wide, middle) == "second"
    assert choose(INDICATORS["maximum_spread"], wide, middle) == "first"
    assert choose(INDICATORS["spacing"], wide, middle) == "same"
    assert choose(INDICATORS["r2"], middle, wide[:1]) == "first"
    assert choose(INDICATORS["r2"], middle, wide) == "second", "two reach more of what is ideal"
