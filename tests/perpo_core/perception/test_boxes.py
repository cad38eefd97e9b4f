"""Boxes: formats round-trip, IoU is right, and numbers of another kind are never a box."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.perception.boxes import (
    BOX_FORMATS,
    Box,
    Frame,
    compute_iou,
    find_box_problem,
    parse_box,
)
from perpo_core.perception.frames import build_framer

FRAME = Frame(width=800, height=600, resized_width=812, resized_height=588)
# Half of the last digit each format writes, as a share of the image; of a centre and half a size,
# the sum; of PaliGemma's bins, what the last one lacks at the image's edge; of cells, a whole one.
ROUNDING = {
    "norm1": 0.005,
    "norm1_padded": 0.005 * 800 / 600,
    "norm1_cxcywh": 0.0005 * 1.5,
    "norm100": 0.005,
    "norm999": 0.5 / 999,
    "norm999_padded": 0.5 / 999 * 800 / 600,
    "norm1000": 0.0005,
    "norm1000_yxyx": 0.0005,
    "pixels": 0.5 / 600,
    "pixels_resized": 0.5 / 588,
    "loc1024_yxyx": 1 / 1024,
    "loc1000": 0.0005,
    "patch32": 1 / 32,
    "points_percent": 0.0005,
}


@st.composite
def boxes(draw: st.DrawFn, min_side: float = 0.03) -> Box:
    x1, y1 = (draw(st.floats(0, 1 - min_side)) for _ in range(2))
    x2, y2 = (draw(st.floats(start + min_side, 1)) for start in (x1, y1))
    return x1, y1, x2, y2


@pytest.mark.parametrize("box_format", BOX_FORMATS)
@given(box=boxes())
def test_every_format_reads_what_it_writes(box_format: str, box: Box) -> None:
    text = BOX_FORMATS[box_format].write(box, FRAME)
    parsed, error = parse_box(f"It is here: {text}.", box_format, FRAME)
    assert error is None and parsed is not None
    assert parsed == pytest.approx(box, abs=ROUNDING[box_format] + 1e-9)


@pytest.mark.parametrize(
    ("box_format", "text"),
    [
        ("norm1", "[0.25, 0.50, 0.75, 1.00]"),
        # 800 x 600 in a square of 800: 100 pixels of padding above and below.
        ("norm1_padded", "[0.25, 0.50, 0.75, 0.88]"),
        ("norm1000", "[250, 500, 750, 1000]"),
        ("pixels", "[200, 300, 600, 600]"),
        ("pixels_resized", "[203, 294, 609, 588]"),
    ],
)
def test_formats_by_hand(box_format: str, text: str) -> None:
    assert BOX_FORMATS[box_format].write((0.25, 0.5, 0.75, 1.0), FRAME) == text


def test_padded_square_of_a_wide_image() -> None:
    # 200 x 100 in a square of 200: y of the image runs from 0.25 to 0.75 of the square.
    parsed, _ = parse_box("[0.00, 0.25, 0.50, 0.75]", "norm1_padded", Frame(200, 100))
    assert parsed == (0.0, 0.0, 0.5, 1.0)


def test_a_box_in_the_padding_is_no_box() -> None:
    assert parse_box("[0.1, 0.0, 0.5, 0.2]", "norm1_padded", Frame(200, 100)) == (
        None,
        "the box lies outside the image",
    )


@pytest.mark.parametrize(
    "text",
    [
        "[10, 20, 30, 40]",
        "(10,20),(30,40)",
        "<box>(10, 20) (30, 40)</box>",
        '[{"bbox_2d": [10, 20, 30, 40], "label": "3"}]',
        "10, 20, 30, 40",
        "[[10, 20, 30, 40]]",
        "The 3 is at [10, 20, 30, 40]",
        "[10.0,20.0,30.0,40.0]. Another: [1, 2, 3, 4]",
    ],
)
def test_ways_to_write_four_numbers(text: str) -> None:
    assert parse_box(text, "pixels", Frame(100, 100)) == ((0.1, 0.2, 0.3, 0.4), None)


@pytest.mark.parametrize(
    ("text", "box_format", "reason"),
    [
        ("", "norm1", "no four numbers"),
        ("nan, nan, nan, nan", "norm1", "no four numbers"),
        ("[0.1, 0.2, 0.3]", "norm1", "no four numbers"),
        ("[10%, 20%, 30%, 40%]", "norm1", "no four numbers"),
        ("[1px, 2px, 3px, 4px]", "pixels", "no four numbers"),
        ("[0.1, 0.2, 0.3, 0.4.5]", "norm1", "no four numbers"),
        ("[0.1, 0.2, 0.3, 40e-2]", "norm1", "no four numbers"),
        ("[0.1, 0.2, 0.3, 0.4, 0.5]", "norm1", "5 numbers in a row"),
        ("[0, 0, 500, 500]", "norm1", "500 is no coordinate in box format norm1 (0 to 1)"),
        ("[0.1, 0.2, 0.3, 0.4]", "norm1000", "look like 0-1"),
        ("[0, 0, 1, 1]", "pixels", "look like 0-1"),
        ("[0, 0, 1900, 1000]", "pixels", "1900 is no coordinate"),
        ("[0.5, 0.1, 0.2, 0.9]", "norm1", "x2 must be greater"),
        ("[0.1, 0.5, 0.2, 0.5]", "norm1", "y2 greater than y1"),
        ("[1.1, 0.5, 1.3, 0.7]", "norm1", "outside the image"),
        ("[" + ", ".join(["9" * 400] * 4) + "]", "norm1", "no coordinate"),
    ],
)
def test_answers_without_a_box(text: str, box_format: str, reason: str) -> None:
    box, error = parse_box(text, box_format, FRAME)
    assert box is None and error is not None and reason in error


def test_a_small_overshoot_is_clamped() -> None:
    assert parse_box("[-0.10, 0.5, 1.20, 0.75]", "norm1", FRAME) == ((0.0, 0.5, 1.0, 0.75), None)


def test_resized_format_needs_the_resized_size() -> None:
    with pytest.raises(ValueError, match="size of the image as the model saw it"):
        parse_box("[10, 20, 30, 40]", "pixels_resized", Frame(100, 100))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0.0, 0.0, 0.5, 0.5), (0.0, 0.0, 0.5, 0.5), 1.0),
        ((0.0, 0.0, 0.5, 0.5), (0.25, 0.0, 0.75, 0.5), 1 / 3),  # 1/8 of 3/8
        ((0.0, 0.0, 1.0, 1.0), (0.25, 0.25, 0.75, 0.75), 1 / 4),
        ((0.0, 0.0, 0.5, 0.5), (0.25, 0.25, 0.75, 0.75), 1 / 7),
        ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), 0.0),  # touching
        ((0.0, 0.0, 1e-200, 1e-200), (0.0, 0.0, 1e-200, 1e-200), 0.0),  # areas underflow
    ],
)
def test_iou_by_hand(a: Box, b: Box, expected: float) -> None:
    assert compute_iou(a, b) == pytest.approx(expected)


@given(boxes(1e-6), boxes(1e-6))
def test_iou_is_symmetric_and_in_range(a: Box, b: Box) -> None:
    assert 0 <= compute_iou(a, b) <= 1
    assert compute_iou(a, b) == pytest.approx(compute_iou(b, a), abs=1e-12)
    assert compute_iou(a, a) == pytest.approx(1)


@given(boxes(), boxes(), st.floats(-2, 2), st.floats(-2, 2), st.floats(0.1, 10))
def test_iou_ignores_shift_and_scale(a: Box, b: Box, dx: float, dy: float, scale: float) -> None:
    def move(box: Box) -> Box:
        x1, y1, x2, y2 = (scale * value for value in box)
        return x1 + dx, y1 + dy, x2 + dx, y2 + dy

    assert compute_iou(move(a), move(b)) == pytest.approx(compute_iou(a, b), abs=1e-6)


def test_box_problems() -> None:
    assert find_box_problem((0.0, 0.0, 1.0, 1.0)) is None
    assert find_box_problem((0.0, 0.0, float("nan"), 1.0)) == "a coordinate is not finite"
    assert find_box_problem((0.5, 0.0, 0.5, 1.0)) is not None
    assert find_box_problem((0.5, 0.0, 1.5, 1.0)) == "the box reaches outside the image"


def test_frame_of_resized_pixels_is_what_the_processor_makes(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=200 * 28 * 28 // 4)
    processor.save_pretrained(tmp_path)
    build_frame = build_framer("pixels_resized", tmp_path)
    for width, height in [(640, 480), (50, 90), (28, 28)]:
        image = Image.fromarray(np.zeros((height, width, 3), np.uint8))
        _, rows, columns = processor(image)["image_grid_thw"][0]
        frame = build_frame(width, height)
        assert (frame.resized_width, frame.resized_height) == (columns * 14, rows * 14)


def test_frame_of_another_processor_is_refused(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"image_processor_type": "Clip"}')
    with pytest.raises(ValueError, match="image processor Clip"):
        build_framer("pixels_resized", tmp_path)
    assert build_framer("norm1", tmp_path)(20, 10) == Frame(20, 10)
