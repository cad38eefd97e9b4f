"""Pairs of a ranked list: worked by hand, for any rewards, and as the objectives choose them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.export.lists.pairs import PAIRINGS, SMALL_GAP, TIE, choose_pairs
from perpo_core.stages.train.objectives.pairs import PAIR_CHOICES
from tests.perpo_core.stages.train.objectives.cases import build_batch, build_case

CHOICES = [name for name in PAIRINGS if name != "list"]
REWARDS = st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=2, max_size=9)


def choose(rewards: list[float], choice, min_gap: float = 0.0):
    answers = [{"index": i, "reward": r} for i, r in enumerate(sorted(rewards, reverse=True))]
    pairs, dropped = choose_pairs(answers, choice, min_gap)
    return [(pair.better["index"], pair.worse["index"]) for pair in pairs], dict(dropped)


def test_worked_by_hand() -> None:
    rewards = [0.9, 0.5, 0.5, 0.1]
    assert choose(rewards, "best-worst") == ([(0, 3)], {})
    assert choose(rewards, "best-rest") == ([(0, 1), (0, 2), (0, 3)], {})
    assert choose(rewards, "adjacent") == ([(0, 1), (2, 3)], {TIE: 1})
    assert choose(rewards, "all") == ([(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)], {TIE: 1})
    assert choose(rewards, "list") == ([], {})


def test_a_gap_below_the_least_is_counted_and_rounding_decides_nothing() -> None:
    assert choose([0.9, 0.5, 0.1], "adjacent", 0.5) == ([], {SMALL_GAP: 2})
    assert choose([1.0, 0.96], "best-worst", 0.04) == ([(0, 1)], {})
    assert choose([0.84, 0.8], "best-worst", 0.04) == ([(0, 1)], {})  # 0.0399999999999999


@pytest.mark.parametrize("choice", CHOICES)
@settings(deadline=None)
@given(rewards=REWARDS, min_gap=st.sampled_from([0.0, 0.25, 1.0]))
def test_every_pair_is_in_order_and_all_are_accounted_for(choice, rewards, min_gap) -> None:
    pairs, dropped = choose(rewards, choice, min_gap)
    ordered = sorted(rewards, reverse=True)
    assert all(ordered[a] - ordered[b] >= max(min_gap, 1e-12) for a, b in pairs)
    assert len(pairs) + sum(dropped.values()) == len(list(PAIRINGS[choice](len(rewards))))
    assert len(set(pairs)) == len(pairs)


@settings(deadline=None)
@given(rewards=st.sets(st.integers(-9, 9), min_size=2, max_size=6))
def test_without_ties_they_are_those_of_the_objectives(rewards: set[int]) -> None:
    ordered = sorted(map(float, rewards), reverse=True)
    batch = build_batch([build_case([0.0] * len(ordered), ordered)])
    by_rewards = {name.replace("_", "-"): choice for name, choice in PAIR_CHOICES.items()}
    assert set(CHOICES) < set(by_rewards), "some are by more than rewards, and not for export"
    for name in CHOICES:
        trained = {tuple(pair) for pair in by_rewards[name](batch)[0].nonzero().tolist()}
        chosen, _ = choose(ordered, name)
        assert set(chosen) == trained
