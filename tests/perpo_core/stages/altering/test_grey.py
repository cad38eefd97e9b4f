"""The image that says nothing."""

from __future__ import annotations

from perpo_core.stages.altering.grey import encode_grey
from perpo_core.vision.stored import open_stored


def test_it_is_grey_everywhere_and_of_the_size_asked_for():
    image = open_stored(encode_grey(30, 7))
    assert image.size == (30, 7)
    assert image.getcolors() == [(30 * 7, (128, 128, 128))]
    assert encode_grey(30, 7) == encode_grey(30, 7) != encode_grey(7, 30)
