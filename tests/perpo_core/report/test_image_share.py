"""What a report says of the image: the line, the warning, the rows."""

from __future__ import annotations

from typing import Any

import pytest

from perpo_core.report.image_share import (
    ByTask,
    build_probe_rows,
    describe_image_probe,
    find_image_warnings,
)
from schemas.probing import ImageProbe, ProbeWay

MINUS = "\u2212"


def build_probe(gain: Any = 0.001, **changes: Any) -> ImageProbe:
    fields = {
        "base": 0.1, "trained": 0.1 + gain, "gain": gain, "gain_low": -0.002, "gain_high": 0.004,
        "base_right": 0.6, "trained_right": 0.623, "gain_right": 0.023, "gain_right_low": 0.01,
        "gain_right_high": 0.03, "needs_image": 1 - gain / 0.023, "needs_image_low": 0.84,
        "needs_image_high": 1.02, "n": 192,
    }  # fmt: skip
    return ImageProbe(**fields | changes)


WITHOUT: dict[str, Any] = {
    "gain_right_low": -0.004, "needs_image": None, "needs_image_low": None,
    "needs_image_high": None,
}  # fmt: skip


def test_the_line_says_how_much_of_the_gain_needs_the_image():
    probes: ByTask = {"grounding": {"shuffled": build_probe(), "blank": build_probe(0.02)}}
    assert describe_image_probe(probes, 0.5) == (
        "Of the gain in grounding reward (+0.023), 96% needs the image (84% to 100%): with a "
        "shuffled image it is +0.001; at least 50% is wanted."
    )
    assert find_image_warnings(probes, 0.5) == []


def test_the_first_task_with_a_share_is_told():
    probes: dict[str, dict[ProbeWay, ImageProbe]] = {
        "counting": {"shuffled": build_probe()},
        "grounding": {"shuffled": build_probe(**WITHOUT)},
    }
    assert "counting reward" in (describe_image_probe(probes, 0.5) or "")
    del probes["counting"]
    assert describe_image_probe(probes, 0.5) == (
        "How much of a gain in grounding reward needs the image cannot be told: on the 192 probed "
        f"test samples it is +0.023 ({MINUS}0.004 to +0.030) with the right image, not surely "
        "above zero, and +0.001 with a shuffled one."
    )


def test_grey_tells_where_no_sample_has_another_image():
    probes: ByTask = {"ocr": {"shuffled": ImageProbe(dropped={"no other image to show": 9}),
                      "blank": build_probe()}}  # fmt: skip
    assert "with a grey image it is +0.001" in (describe_image_probe(probes, 0.5) or "")
    assert describe_image_probe({"ocr": {"shuffled": ImageProbe()}}, 0.5) is None
    assert describe_image_probe({}, 0.5) is None


@pytest.mark.parametrize(("high", "is_said"), [(0.49, True), (0.5, False), (0.8, False)])
def test_a_share_that_surely_lies_below_is_a_warning(high, is_said):
    probe = build_probe(0.02, needs_image=0.13, needs_image_low=0.02, needs_image_high=high)
    found = find_image_warnings({"grounding": {"shuffled": probe, "cropped": probe}}, 0.5)
    assert len(found) == is_said
    if is_said:
        assert found[0].startswith("of the gain in grounding reward only 13% needs the image (2% ")


def test_a_crop_shows_some_of_the_image_and_warns_of_nothing():
    low = build_probe(0.02, needs_image=0.1, needs_image_low=0.0, needs_image_high=0.2)
    probes: ByTask = {"grounding": {"shuffled": build_probe(), "cropped": low}}
    assert find_image_warnings(probes, 0.5) == []


def test_rows_have_the_right_image_first_and_nothing_of_what_was_not_asked():
    probes: ByTask = {"ocr": {"cropped": build_probe(**WITHOUT), "blank": build_probe(),
                      "shuffled": ImageProbe()}}  # fmt: skip
    right, blank, cropped = build_probe_rows(probes)
    assert [row.num_rows for row in (right, blank, cropped)] == [3, 0, 0]
    assert (right.label, right.base, right.trained) == ("the right one", "0.600", "0.623")
    assert (right.gain, right.share, right.n) == ("+0.023", "", 192)
    assert (blank.label, blank.gain, blank.share) == ("grey", "+0.001", "96%")
    assert blank.share_interval == "84% to 100%"
    assert (cropped.share, cropped.share_interval) == ("cannot be told", "")
