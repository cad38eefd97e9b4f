"""Which pairs a user is asked about, and when."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from perpo_core.tuning.fronts import Values, find_front
from perpo_core.tuning.questions import Pair, build_pair, count_wanted, divide, find_pair
from perpo_core.tuning.utility import Utility, compute_features
from schemas.tune_config import TuneConfig

EVEN = Utility(np.full(4, 0.25))
SETTINGS = arrays(
    np.float64, st.tuples(st.integers(2, 8), st.just(2)), elements=st.integers(0, 5).map(float)
)


def test_rounds_come_after_the_first_trials_and_at_equal_distances() -> None:
    config = TuneConfig(trials=16, startup=6, rounds=2, comparisons=8)
    assert [count_wanted(config, num) for num in (0, 5, 6, 10, 11, 16)] == [0, 0, 8, 8, 16, 16]
    only = TuneConfig(trials=6, startup=6, rounds=1, comparisons=3)
    assert [count_wanted(only, num) for num in (5, 6)] == [0, 3]


@given(SETTINGS)
def test_every_pair_that_pulls_apart_is_asked_about_once_and_no_other(settings: Values) -> None:
    asked: list[Pair] = []
    while (pair := find_pair(settings, EVEN, asked)) is not None:
        difference = settings[pair[0]] - settings[pair[1]]
        assert (difference > 0).any() and (difference < 0).any()
        assert build_pair(pair[:1], pair[1:]) not in asked
        asked.append(build_pair(pair[1:], pair[:1]))
    apart = [
        (a, b)
        for a in range(len(settings))
        for b in range(a)
        if ((settings[a] > settings[b]).any() and (settings[a] < settings[b]).any())
    ]
    assert len(asked) == len(apart)


def test_the_first_pair_is_the_one_that_differs_most_across_the_weights() -> None:
    settings = np.array([[0.0, 1.0], [1.0, 0.0], [0.4, 0.6], [0.2, 0.9]])
    assert find_pair(settings, EVEN, []) == (0, 1)
    # Whom only the first objective matters to, and nothing else: along it the answer is known.
    sure = Utility(np.array([0.5, 0.0, 0.5, 0.0]))
    pair = find_pair(settings, sure, [])
    features = compute_features(settings)
    told = [
        abs(features[a, 1] - features[b, 1]) ** 2 + abs(features[a, 3] - features[b, 3]) ** 2
        for a, b in ([pair] if pair else [])
    ]
    assert told and max(told) > 1


@given(SETTINGS, st.integers(0, 3))
def test_halves_are_fronts_of_all_trials_and_the_same_again(settings: Values, number: int) -> None:
    divided = divide(settings, 7, number)
    assert divided == divide(settings, 7, number)
    if divided is None:
        return
    first, second = divided
    assert first and second and not set(first) & set(second)
    for front in divided:
        assert find_front(settings[front]) == list(range(len(front)))
        assert front == sorted(front)
    overall = find_front(settings)
    assert {tuple(settings[row]) for row in overall} <= {
        tuple(settings[row]) for row in (*first, *second)
    }, "what is on the front of all is on that of its half"


def test_other_questions_and_seeds_divide_otherwise() -> None:
    settings = np.column_stack([np.arange(9.0), np.arange(9.0)[::-1]])
    found = {str(divide(settings, seed, number)) for seed in range(3) for number in range(3)}
    assert len(found) > 5


def test_no_two_fronts_are_compared_twice() -> None:
    settings = np.column_stack([np.arange(4.0), np.arange(4.0)[::-1]])
    asked: list[Pair] = []
    while (divided := divide(settings, 0, len(asked), asked)) is not None:
        assert build_pair(*divided) not in asked
        asked.append(build_pair(*divided))
    assert len(asked) == 3, "the ways to divide four into two and two"


def test_fronts_of_which_one_is_better_are_not_asked_about() -> None:
    """Along a line from worse to better, the half with the best trial is better."""
    line = np.column_stack([np.arange(6.0), np.arange(6.0)])
    assert divide(line, 0, 0) is None
    assert divide(line[:1], 0, 0) is None
