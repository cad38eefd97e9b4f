"""The paired bootstrap: hand-worked means, known spread, pairing, speed."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.stages.evaluate import statistics
from perpo_core.stages.evaluate.statistics import compare_paired as compare_paired_by_image
from schemas.artifact import Metric


def compare_paired(base: Any, trained: Any, resamples: int, seed: int) -> Metric:
    """Every sample with an image of its own."""
    images = [f"image {number}" for number in range(len(base))]
    return compare_paired_by_image(base, trained, images, resamples, seed)


def test_means_by_hand() -> None:
    metric = compare_paired([0.0, 1.0, 0.5], [0.5, 1.0, 1.0], 200, seed=0)
    assert metric.base == 0.5 and metric.n == 3
    assert metric.trained == pytest.approx(2.5 / 3)
    assert metric.delta == pytest.approx(1 / 3)
    # Means of three draws from {1/2, 0, 1/2} lie on 0, 1/6, 1/3, 1/2; both ends are seen often.
    assert metric.delta_low == pytest.approx(0) and metric.delta_high == pytest.approx(0.5)


def test_a_constant_shift_has_no_spread_however_different_the_prompts() -> None:
    base = np.linspace(0, 0.5, 64)
    metric = compare_paired(base, base + 0.25, 500, seed=0)
    assert metric.delta_low == metric.delta_high == pytest.approx(0.25)


def test_interval_is_that_of_the_normal_approximation_for_many_prompts() -> None:
    rng = np.random.default_rng(3)
    base, delta = rng.random(1000), rng.normal(0.1, 0.3, 1000)
    metric = compare_paired(base, base + delta, 20_000, seed=1)  # quantiles to 1% of the half width
    half_width = 1.96 * delta.std() / np.sqrt(delta.size)
    assert metric.delta_low == pytest.approx(delta.mean() - half_width, abs=0.05 * half_width)
    assert metric.delta_high == pytest.approx(delta.mean() + half_width, abs=0.05 * half_width)


def test_scipy_gives_the_same_interval() -> None:
    from scipy.stats import bootstrap

    rng = np.random.default_rng(4)
    base, trained = rng.random(100), rng.random(100)
    metric = compare_paired(base, trained, 20_000, seed=0)
    reference = bootstrap(
        (base, trained), lambda b, t, axis: (t - b).mean(axis=axis), paired=True,
        vectorized=True, n_resamples=20_000, method="percentile", rng=0,
    ).confidence_interval  # fmt: skip
    assert metric.delta_low == pytest.approx(reference.low, abs=0.005)
    assert metric.delta_high == pytest.approx(reference.high, abs=0.005)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_swapping_the_policies_turns_the_sign(pairs: list[tuple[float, float]]) -> None:
    base, trained = zip(*pairs, strict=True)
    forward, backward = (
        compare_paired(base, trained, 100, seed=5),
        compare_paired(trained, base, 100, seed=5),
    )
    assert forward.delta == pytest.approx(-backward.delta)
    assert forward.delta_low == pytest.approx(-backward.delta_high, abs=1e-12)
    assert forward.delta_low <= forward.delta + 1e-12 or forward.n > 1


def test_the_seed_decides_and_blocks_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    base, trained = rng.random(50), rng.random(50)
    whole = compare_paired(base, trained, 300, seed=2)
    assert compare_paired(base, trained, 300, seed=2) == whole
    assert compare_paired(base, trained, 300, seed=3) != whole
    for block_draws in (700, 7):  # 14 rows a block instead of all 300; and not even one
        monkeypatch.setattr(statistics, "BLOCK_DRAWS", block_draws)
        in_blocks = compare_paired(base, trained, 300, seed=2)
        assert in_blocks.delta_low == pytest.approx(whole.delta_low)
        assert in_blocks.delta_high == pytest.approx(whole.delta_high)


def test_one_resample_is_one_mean() -> None:
    base, trained = np.random.default_rng(0).random((2, 50))
    metric = compare_paired(base, trained, 1, seed=0)
    assert metric.delta_low == metric.delta_high != metric.delta


def test_narrow_values_are_averaged_in_float64() -> None:
    narrow = np.random.default_rng(0).random((2, 1001)).astype(np.float32)
    wide = narrow.astype(np.float64)
    expected = compare_paired(wide[0], wide[1], 10, seed=0)
    for base, trained in ((narrow[0], wide[1]), (wide[0], narrow[1])):
        assert compare_paired(base, trained, 10, seed=0) == expected


def test_questions_on_one_image_count_as_one_draw() -> None:
    rng = np.random.default_rng(5)
    delta_I = rng.normal(0, 1, 40)
    few = compare_paired(np.zeros(40), delta_I, 4000, seed=0)
    images = [f"image {number // 9}" for number in range(40 * 9)]
    many = compare_paired_by_image(np.zeros(40 * 9), np.repeat(delta_I, 9), images, 4000, seed=0)
    apart = compare_paired(np.zeros(40 * 9), np.repeat(delta_I, 9), 4000, seed=0)
    width = few.delta_high - few.delta_low
    assert many.delta_high - many.delta_low == pytest.approx(width, rel=0.05)
    assert apart.delta_high - apart.delta_low == pytest.approx(width / 3, rel=0.15)
    assert many.delta == pytest.approx(few.delta) and many.n == 360


def test_images_with_more_questions_weigh_more() -> None:
    metric = compare_paired_by_image(
        [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"], 2000, seed=0
    )
    assert metric.delta == 0.75  # means of two drawn images: 1, 3/4 or 0, each often enough
    assert metric.delta_low == 0 and metric.delta_high == 1


@pytest.mark.parametrize(
    ("base", "trained", "problem"),
    [
        ([], [], "non-empty"),
        ([1.0], [1.0, 2.0], "equally long"),
        ([1.0, np.nan], [1.0, 2.0], "score every answer"),
        ([1.0, 2.0], [np.nan, 2.0], "score every answer"),
        ([1.0, 2.0], [1.0, np.inf], "score every answer"),
        ([np.nan, np.nan], [np.nan, np.nan], "score every answer"),
    ],
)
def test_what_cannot_be_compared(base: list[float], trained: list[float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        compare_paired(base, trained, 100, seed=0)


def test_values_without_their_image_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match=r"equally long.*\(1,\)"):
        compare_paired_by_image([1.0, 2.0], [1.0, 2.0], ["a"], 100, seed=0)


def test_fast_enough_for_a_report() -> None:
    values = np.random.default_rng(0).random((2, 2048))
    started = time.monotonic()
    compare_paired(values[0], values[1], 2000, seed=0)
    assert time.monotonic() - started < 2
