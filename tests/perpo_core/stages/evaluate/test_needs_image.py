"""The share of a gain that needs the right image: worked by hand, and against a slow bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.stages.evaluate.needs_image import compare_images, compute_share_interval

RESAMPLES = 400


def compare(right, other, images=None, seed=0):
    """Gains over a base of 0.5 everywhere."""
    base = np.full(len(right), 0.5)
    with_right, with_other = (
        (base, base + np.asarray(each, dtype=float)) for each in (right, other)
    )
    images = images or [str(n) for n in range(len(right))]
    return compare_images(with_right, with_other, images, RESAMPLES, seed)


def test_worked_by_hand():
    """Gains 0.2, 0.4, 0.1, 0.3 (0.25) and, with another image, 0.1, 0, 0, 0.1 (0.05): 80%."""
    found = compare([0.2, 0.4, 0.1, 0.3], [0.1, 0.0, 0.0, 0.1])
    assert (found.base, found.n) == (0.5, 4)
    assert found.trained == pytest.approx(0.55)
    assert found.gain == pytest.approx(0.05)
    assert found.gain_right == pytest.approx(0.25)
    assert found.needs_image == pytest.approx(0.8)
    assert found.needs_image_low <= 0.8 <= found.needs_image_high


@pytest.mark.parametrize(("factor", "share"), [(0.0, 1.0), (1.0, 0.0), (0.5, 0.5), (-0.5, 1.5)])
def test_a_gain_in_proportion_has_one_share_in_every_draw(factor, share):
    """All of it, none of it, half of it; more than all where other images cost reward."""
    right = np.array([0.1, 0.5, 0.3, 0.2, 0.4])
    found = compare(right, factor * right)
    for value in (found.needs_image, found.needs_image_low, found.needs_image_high):
        assert value == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize("right", [[0.0] * 5, [-0.1] * 5, [0.5, -0.4, 0.3, -0.3, 0.1]])
def test_of_no_gain_nothing_can_need_the_image(right):
    found = compare(right, [0.01] * 5)
    assert found.needs_image is found.needs_image_low is found.needs_image_high is None
    assert found.gain_right == pytest.approx(np.mean(right))
    assert found.gain == pytest.approx(0.01)


def test_the_interval_is_of_both_gains_over_the_same_images():
    """A slow loop over draws of images; three questions are about one of them."""
    rng = np.random.default_rng(3)
    right, other = rng.normal(0.4, 0.3, 30), rng.normal(0.1, 0.3, 30)
    images = [f"image-{max(n, 2)}" for n in range(30)]
    found = compare(right, other, images, seed=5)
    names, image_of = np.unique(images, return_inverse=True)
    drawn = np.random.default_rng(5).integers(len(names), size=(RESAMPLES, len(names)), dtype="i4")
    shares = []
    for draw in drawn:
        members = np.concatenate([np.flatnonzero(image_of == image) for image in draw])
        shares.append(1 - other[members].sum() / right[members].sum())
    shares.sort()
    assert found.needs_image_low == pytest.approx(shares[10])  # 0.025 * 399 = 9.975
    assert found.needs_image_high == pytest.approx(shares[389])  # 0.975 * 399 = 389.025
    assert found.needs_image == pytest.approx(1 - other.mean() / right.mean())


def test_draws_without_a_gain_lie_at_the_ends():
    """The right gain is 0 or less in two of 100 draws: they bound nothing but their own end."""
    right = np.array([-0.1, 0.0, *[0.5] * 98])
    other = np.array([0.1, -0.1, *[0.25] * 98])
    assert compute_share_interval(right, other) == (0.5, 0.5)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=12))
@settings(max_examples=60)
def test_what_is_told_is_finite_and_in_order(pairs):
    right, other = (list(side) for side in zip(*pairs, strict=True))
    found = compare(right, other)
    assert found.gain_low <= found.gain + 1e-12 and found.gain <= found.gain_high + 1e-12
    if found.needs_image is None:
        assert found.gain_right_low <= 0
    else:
        assert np.isfinite([found.needs_image_low, found.needs_image_high]).all()
        assert found.needs_image_low <= found.needs_image_high
