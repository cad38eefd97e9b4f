"""What is claimed of methods whose truth is known: no more than 5% of nothing, and what is there.

Bounds allow for the luck of so many tries: a sound test exceeds one in a thousand times, and the
seeds are fixed.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from perpo_core.evidence.bootstrap import compare_methods
from perpo_core.evidence.holm import judge_family
from schemas.evidence_statistics import Difference
from tests.perpo_core.evidence.planted import FEW_IMAGES_P, IMAGES_P, draw_answers

RESAMPLES = 200  # fewer make an interval less sure, not shorter
OF_A_FAMILY = 1000  # what p = 0.05 / 10 wants


def compare_all(
    seed: int,
    accuracies: list[float],
    images_P: NDArray[np.int64] = IMAGES_P,
    resamples: int = RESAMPLES,
) -> list[Difference]:
    """Every pair of one draw of methods, the later against the earlier."""
    answers_MSP = draw_answers(np.random.default_rng(seed), accuracies, images_P)
    return [
        compare_methods(first_SP, second_SP, images_P, resamples, seed)
        for first_SP, second_SP in combinations(answers_MSP, 2)
    ]


def most_by_luck(tries: int, share: float) -> int:
    return int(binom.ppf(0.999, tries, share))


def count_false_claims(tries: int, images_P: NDArray[np.int64]) -> tuple[int, int]:
    """(of a single pair, of any of 10 pairs by Holm) claims about equal methods."""
    single = family = 0
    for seed in range(tries):
        verdicts = judge_family(compare_all(seed, [0.6] * 5, images_P, OF_A_FAMILY))
        single += verdicts[0].difference.p_value < 0.05
        family += any(verdict.direction != "open" for verdict in verdicts)
    return single, family


def test_a_planted_null_is_claimed_in_one_of_twenty_tries_at_most() -> None:
    false = sum(compare_all(seed, [0.6, 0.6])[0].p_value < 0.05 for seed in range(200))
    assert 0 < false <= most_by_luck(200, 0.05)


def test_ten_pairs_of_equal_methods_are_claimed_no_more_often_than_one() -> None:
    _, family = count_false_claims(30, FEW_IMAGES_P)
    assert family <= most_by_luck(30, 0.05)


@pytest.mark.slow
def test_false_claims_over_many_tries() -> None:
    single, family = count_false_claims(400, IMAGES_P)
    assert 0 < single <= most_by_luck(400, 0.05)
    assert 0 < family <= most_by_luck(400, 0.05)


def test_a_planted_difference_of_three_points_is_found_and_covered() -> None:
    found = [compare_all(seed, [0.60, 0.63])[0] for seed in range(60)]
    assert sum(each.p_value < 0.05 and each.delta > 0 for each in found) >= 54
    assert sum(not each.low <= 0.03 <= each.high for each in found) <= most_by_luck(60, 0.05)
    assert np.mean([each.delta for each in found]) == pytest.approx(0.03, abs=0.002)


def test_holm_finds_the_one_method_that_is_better() -> None:
    """Four of ten pairs have it: nearly all are claimed, the six others nearly never."""
    is_real = np.array([later == 4 for _, later in combinations(range(5), 2)])
    claimed = np.array(
        [
            [
                verdict.direction == "better"
                for verdict in judge_family(
                    compare_all(seed, [0.6] * 4 + [0.65], resamples=OF_A_FAMILY)
                )
            ]
            for seed in range(6)
        ]
    )
    assert claimed[:, is_real].mean() > 0.8
    assert claimed[:, ~is_real].any(axis=1).sum() <= most_by_luck(6, 0.05)
