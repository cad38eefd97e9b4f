"""The crops of the conditional term: small, inside the image, and always the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from perpo_core.stages.altering.crops import AREA_SHARES, crop_image, draw_crop_box

sides = st.integers(1, 3000)
seeds = st.integers(0, 2**31 - 1)


@given(width=sides, height=sides, key=st.text(max_size=9), seed=seeds)
def test_a_crop_lies_inside_the_image_and_holds_a_pixel(width, height, key, seed):
    left, top, right, bottom = draw_crop_box(width, height, key, seed)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@given(width=st.integers(200, 3000), height=st.integers(200, 3000), key=st.text(max_size=9))
def test_its_area_is_the_drawn_share_whatever_the_shape_of_the_image(width, height, key):
    left, top, right, bottom = draw_crop_box(width, height, key, 0)
    share = (right - left) * (bottom - top) / (width * height)
    rounding = 1.06  # half a pixel of a side of ten or more
    assert AREA_SHARES[0] / rounding < share < AREA_SHARES[1] * rounding


def test_crops_of_a_square_are_nearly_square_and_spread_over_it():
    boxes = [draw_crop_box(1000, 1000, str(number), 0) for number in range(400)]
    shapes = [(right - left) / (bottom - top) for left, top, right, bottom in boxes]
    assert 0.74 < min(shapes) < 0.8 and 1.25 < max(shapes) < 1.35
    shares = [(right - left) * (bottom - top) / 1e6 for left, top, right, bottom in boxes]
    assert sum(shares) / 400 == pytest.approx(0.105, abs=0.01)  # uniform between 0.01 and 0.2
    centres = [((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in boxes]
    for axis in zip(*centres, strict=True):
        assert sum(axis) / 400 == pytest.approx(500, abs=40)
        assert min(axis) < 200 and max(axis) > 800


def test_a_crop_follows_from_key_and_seed_alone():
    assert draw_crop_box(640, 480, "a/0", 3) == (182, 39, 279, 154)  # on any machine
    others = [draw_crop_box(640, 480, *named) for named in (("a/1", 3), ("b/0", 3), ("a/0", 4))]
    assert len({(182, 39, 279, 154), *others}) == 4


def test_a_cropped_image_has_its_size_and_shows_its_part():
    image = Image.new("RGB", (300, 200), "white")
    left, top, right, bottom = draw_crop_box(300, 200, "x", 1)
    image.paste("red", (left, top, right, bottom))
    cropped = crop_image(image, "x", 1)
    assert cropped.size == (300, 200)
    assert cropped.getcolors() == [(300 * 200, (255, 0, 0))]
