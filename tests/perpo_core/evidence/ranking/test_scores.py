"""How log-probabilities rank answers: by hand, and against loops and libraries."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score, roc_auc_score

from perpo_core.evidence.ranking.scores import (
    compute_auc,
    compute_margin,
    compute_ndcg,
    compute_pairs_in_order,
    compute_spearman,
    compute_tau,
    normalise_lengths,
)

# Few values, so that there are ties.
logps = st.integers(-6, 0).map(float)
rewards = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
lists = st.lists(st.tuples(logps, rewards), min_size=2, max_size=8)


def split(pairs):
    return [list(side) for side in zip(*pairs, strict=True)]


def test_worked_by_hand():
    """Rewards 0.9, 0.5, 0.5, 0; the likeliest is a middle one, the best is second.

    Of five pairs of different rewards four are in order: not (0.9, first 0.5).
    """
    values, found = [-2.0, -1.0, -3.0, -5.0], [0.9, 0.5, 0.5, 0.0]
    assert compute_pairs_in_order(values, found) == 4 / 5
    # tau-b: (4 - 1) / sqrt(6 pairs * 5 that rewards tell apart)
    assert compute_tau(values, found) == pytest.approx(3 / math.sqrt(6 * 5))
    dcg = 0.5 + 0.9 / math.log2(3) + 0.5 / 2
    best = 0.9 + 0.5 / math.log2(3) + 0.5 / 2
    assert compute_ndcg(values, found) == pytest.approx(dcg / best)
    assert compute_margin(values, found) == 3.0
    assert compute_margin(values, [0.9, 0.9, 0.0, 0.0]) == -1.5 - -4.0, "means of what is tied"


def test_what_is_undefined_is_none():
    assert compute_pairs_in_order([-1.0, -2.0], [0.5, 0.5]) is None
    assert compute_tau([-1.0, -1.0], [0.0, 1.0]) is None
    assert compute_ndcg([-1.0, -2.0], [0.0, 0.0]) is None
    assert compute_ndcg([-1.0, -2.0], [0.5, -0.5]) is None
    assert compute_spearman([-1.0, -1.0], [0.0, 1.0]) is None
    assert compute_spearman([-1.0], [0.5]) is None
    assert compute_auc([-1.0, -2.0], [0.5, 1.0]) is None
    assert compute_auc([], []) is None


@given(lists)
def test_pairs_in_order_are_what_a_loop_counts(pairs):
    points = [
        0.5 if a[0] == b[0] else float((a[0] > b[0]) == (a[1] > b[1]))
        for a, b in combinations(pairs, 2)
        if a[1] != b[1]
    ]
    found = compute_pairs_in_order(*split(pairs))
    assert found == (pytest.approx(sum(points) / len(points)) if points else None)


@given(lists)
def test_ndcg_is_sklearns(pairs):
    values, found = split(pairs)
    assume(any(found))
    expected = ndcg_score([found], [values])
    assert compute_ndcg(values, found) == pytest.approx(expected)


@given(lists)
def test_a_perfect_order_is_1_and_the_reverse_is_least(pairs):
    found = sorted({reward for _, reward in pairs})
    assume(len(found) > 1)
    order = np.arange(len(found), dtype=float)
    assert compute_pairs_in_order(order, found) == compute_ndcg(order, found) == 1
    assert compute_tau(order, found) == pytest.approx(1)
    assert compute_pairs_in_order(-order, found) == 0
    assert compute_tau(-order, found) == pytest.approx(-1)
    turned = compute_ndcg(-order, found)
    assert turned is not None and turned < 1


@given(lists)
def test_auc_is_sklearns_and_a_share_of_pairs(pairs):
    values, found = split(pairs)
    is_good = [reward >= 0.5 for reward in found]
    assume(any(is_good) and not all(is_good))
    assert compute_auc(values, found) == pytest.approx(roc_auc_score(is_good, values))


@given(lists, st.permutations(range(8)))
def test_the_order_of_answers_does_not_matter(pairs, order):
    shuffled = [pairs[n] for n in order if n < len(pairs)]
    for compute in (compute_pairs_in_order, compute_tau, compute_ndcg, compute_margin,
                    compute_spearman, compute_auc):  # fmt: skip
        one, other = compute(*split(pairs)), compute(*split(shuffled))
        assert one == (other if other is None else pytest.approx(other, abs=1e-12))


def test_spearman_is_the_correlation_of_ranks():
    """Ranks 1, 2, 3 and 1, 3, 2: 1 - 6 * 2 / (3 * 8)."""
    assert compute_spearman([-9.0, -2.0, -1.0], [0.0, 1.0, 0.5]) == pytest.approx(0.5)
    assert compute_spearman([1.0, 2.0, 3.0], [0.1, 0.2, 0.9]) == pytest.approx(1)


def test_a_log_probability_a_token():
    assert normalise_lengths([-6.0, -1.0], [3, 2]) == [-2.0, -0.5]
