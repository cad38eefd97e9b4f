from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.evidence.bootstrap import compare_methods
from perpo_core.evidence.resampling import (
    cluster_by_image,
    compute_p_value,
    compute_variances,
    find_interval,
    resample_means,
)
from tests.perpo_core.evidence.planted import draw_effects

IMAGES_4 = ["a", "a", "b", "c"]
SECOND = np.array([[1.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]])
FIRST = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])


def test_difference_by_hand() -> None:
    """Differences (0, 1, 0, 1) and (1, 0, 0, 0): means 1/2 and 1/4; of prompts 1/2, 1/2, 0, 1/2."""
    found = compare_methods(FIRST, SECOND, IMAGES_4, 400, seed=0)
    assert found.delta == 0.375
    assert found.effect_size == pytest.approx(0.375 / 0.25)
    assert (found.seeds, found.prompts, found.images, found.resamples) == (2, 4, 3, 400)
    assert found.low <= found.delta <= found.high


def test_variances_by_hand() -> None:
    """Two seeds of means 1/2 and 1/4: their spread gives (1/32) / 2.

    Sums less what a prompt of the seed has on average, over 4 prompts: images a, b, c of seed 1
    (0, -1/8, 1/8), of seed 2 (1/8, -1/16, -1/16). Common part (1/16, -3/32, 1/32), square sum
    14/1024; the rest (1/16, 1/32, 3/32) of either sign, square sum 2 x 14/1024. Times 3/2, and the
    rest over 2 x 1: both 21/1024, so that images are left with nothing of their own.
    """
    images, seeds = compute_variances(cluster_by_image(SECOND - FIRST, IMAGES_4))
    assert seeds == pytest.approx(1 / 64)
    assert images == pytest.approx(0, abs=1e-12)
    halved = compute_variances(cluster_by_image((SECOND - FIRST)[:1], IMAGES_4))
    assert halved == pytest.approx((1.5 * 2 / 64, 0))


def test_variances_are_those_of_the_truth_on_average() -> None:
    rng = np.random.default_rng(0)
    drawn = [
        compute_variances(cluster_by_image(draw_effects(rng, 50, 4, (0.2, 1.0, 2.0)), range(50)))
        for _ in range(1500)
    ]
    images, seeds = np.mean(drawn, axis=0)
    assert images == pytest.approx(1 / 50, rel=0.07)
    assert seeds == pytest.approx(0.04 / 4 + 4 / 200, rel=0.07)


def test_resamples_have_the_spread_of_the_variances() -> None:
    """Eleven seeds: the variance of t with 10 degrees of freedom is 10/8."""
    values_SP = draw_effects(np.random.default_rng(1), 60, 11, (0.1, 1.0, 1.0))
    images, seeds = compute_variances(cluster_by_image(values_SP, range(60)))
    [resampled_R] = resample_means([values_SP], range(60), 40_000, seed=0)
    assert resampled_R.mean() == pytest.approx(values_SP.mean(), abs=0.003)
    # One of 60 less than the unbiased variance, as any bootstrap has.
    assert resampled_R.var() == pytest.approx(images * 59 / 60 + seeds * 10 / 8, rel=0.03)


def test_the_start_stands_against_every_seed() -> None:
    alone = compare_methods(FIRST[:1], SECOND, IMAGES_4, 400, seed=0)
    repeated = compare_methods(np.repeat(FIRST[:1], 2, axis=0), SECOND, IMAGES_4, 400, seed=0)
    assert alone == repeated
    assert alone.seeds == 2


def test_one_seed_is_the_bootstrap_over_images() -> None:
    """The interval of perpo_core/stages/evaluate: percentiles of means over drawn images."""
    rng = np.random.default_rng(3)
    values_SP = rng.standard_normal((1, 300)) + 0.1
    found = compare_methods(np.zeros((1, 300)), values_SP, range(300), 8000, seed=0)
    drawn_R = values_SP[0][rng.integers(300, size=(8000, 300))].mean(axis=1)
    np.testing.assert_allclose(
        [found.low, found.high], np.quantile(drawn_R, [0.025, 0.975]), atol=0.006
    )
    assert found.seeds == 1


def test_repeated_questions_about_an_image_add_no_certainty() -> None:
    values_SI = draw_effects(np.random.default_rng(0), 100, 3, (0.1, 1.0, 1.0))
    once = compare_methods(np.zeros((3, 100)), values_SI, range(100), 400, seed=0)
    images = np.repeat(np.arange(100), 4)
    often = compare_methods(np.zeros((3, 400)), values_SI.repeat(4, axis=1), images, 400, seed=0)
    assert often.se == pytest.approx(once.se)
    assert [often.low, often.high] == pytest.approx([once.low, once.high])


def test_seeds_that_differ_widen_the_interval() -> None:
    values_SP = np.random.default_rng(0).standard_normal((1, 200)).repeat(5, axis=0)
    shifted = values_SP + np.array([-0.2, -0.1, 0.0, 0.1, 0.2])[:, None]
    same, other = (
        compare_methods(np.zeros((1, 200)), each, range(200), 2000, 0)
        for each in (values_SP, shifted)
    )
    assert other.delta == pytest.approx(same.delta)
    assert other.se**2 == pytest.approx(same.se**2 + 0.1 / 4 / 5)
    assert other.high - other.low > 1.3 * (same.high - same.low)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.floats(-0.5, 0.5), st.integers(40, 300))
def test_an_interval_leaves_out_zero_exactly_where_p_is_below_a_twentieth(
    seed: int, seeds: int, shift: float, resamples: int
) -> None:
    values_SP = draw_effects(np.random.default_rng(seed), 30, seeds, (0.1, 1.0, 0.5)) + shift
    found = compare_methods(np.zeros((1, 30)), values_SP, range(30), resamples, seed)
    assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_invariances(seed: int, seeds: int) -> None:
    """Turned around, every sign turns; order of prompts and names of images do not matter."""
    rng = np.random.default_rng(seed)
    first, second = (draw_effects(rng, 30, seeds, (0.1, 1.0, 0.5)) for _ in range(2))
    images = rng.integers(10, size=30)
    there = compare_methods(first, second, images, 200, seed)
    back = compare_methods(second, first, images, 200, seed)
    assert there.effect_size is not None and back.effect_size is not None
    assert back.effect_size == pytest.approx(-there.effect_size)
    turned = [back.delta, back.se, back.low, back.high, back.p_value]
    expected = [-there.delta, there.se, -there.high, -there.low, there.p_value]
    np.testing.assert_allclose(turned, expected, rtol=1e-9, atol=1e-12)
    order = rng.permutation(30)
    named = [f"image {number}" for number in images[order]]
    moved = compare_methods(first[:, order], second[:, order], named, 200, seed)
    np.testing.assert_allclose(
        [moved.delta, moved.low, moved.high, moved.p_value],
        [there.delta, there.low, there.high, there.p_value],
        rtol=1e-9,
        atol=1e-12,
    )


def test_no_difference_at_all() -> None:
    found = compare_methods(FIRST, FIRST, IMAGES_4, 100, seed=0)
    assert (found.delta, found.low, found.high, found.p_value, found.se) == (0, 0, 0, 1, 0)
    assert found.effect_size is None


def test_the_same_difference_everywhere_is_certain() -> None:
    found = compare_methods(np.zeros((2, 4)), np.ones((2, 4)), IMAGES_4, 199, seed=0)
    assert (found.delta, found.low, found.high, found.se) == (1, 1, 1, 0)
    assert found.p_value == 2 / 200


def test_order_statistics_by_hand() -> None:
    """Of 80 resamples two lie at or beyond either end, and the value itself counts: 2 x 3 / 81."""
    resampled_R = np.arange(1, 81, dtype=np.float64) - 2.5
    assert find_interval(resampled_R) == (-0.5, 76.5)
    assert compute_p_value(resampled_R) == 2 * 3 / 81
    assert compute_p_value(resampled_R + 1) == 2 * 2 / 81


@pytest.mark.parametrize(
    ("first", "second", "images", "problem"),
    [
        (np.zeros((2, 4)), np.zeros((3, 4)), IMAGES_4, "same seeds"),
        (np.zeros((2, 4)), np.zeros((2, 3)), IMAGES_4, "same seeds .or 1. and prompts"),
        (np.zeros((2, 4)), np.zeros((2, 4)), ["a"], "an image for every prompt"),
        (np.zeros(4), np.zeros((2, 4)), IMAGES_4, r"first is \(4,\)"),
        (np.zeros((2, 4)), np.zeros((2, 0)), IMAGES_4, r"second is \(2, 0\)"),
        (np.zeros((2, 4)), np.full((2, 4), np.nan), IMAGES_4, "second holds values"),
        (np.full((2, 4), np.inf), np.zeros((2, 4)), IMAGES_4, "first holds values"),
    ],
)
def test_what_cannot_be_compared(
    first: np.ndarray, second: np.ndarray, images: list[str], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        compare_methods(first, second, images, 100, seed=0)


def test_too_few_resamples_are_refused() -> None:
    with pytest.raises(ValueError, match=r"39 resamples are too few .* at least 40"):
        compare_methods(FIRST, SECOND, IMAGES_4, 39, seed=0)


def test_fast_enough_for_many_pairs() -> None:
    first, second = np.random.default_rng(0).random((2, 5, 2048))
    started = time.monotonic()
    compare_methods(first, second, [f"image {number % 1000}" for number in range(2048)], 2000, 0)
    assert time.monotonic() - started < 2
