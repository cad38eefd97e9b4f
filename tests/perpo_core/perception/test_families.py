"""Every family of models is read as it writes: right answers, wrong ones, and there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.perception.boxes import BOX_FORMATS, Box, Frame, parse_box
from tests.perpo_core.perception import families
from tests.perpo_core.perception.test_boxes import ROUNDING, boxes

SOME = Frame(800, 600, 812, 588)


def flatten(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(key, text) for key, texts in table.items() for text in texts]


@pytest.mark.parametrize(("box_format", "text"), flatten(families.READ))
def test_the_box_is_read(box_format: str, text: str) -> None:
    box, error = parse_box(text, box_format, families.FRAME)
    assert error is None
    assert box == pytest.approx(families.BOX, abs=1 / 32 if box_format == "patch32" else 1.1e-3)


@pytest.mark.parametrize(
    ("box_format", "reason", "text"),
    [(name, *row) for name, table in families.NOT_READ.items() for row in flatten(table)],
)
def test_no_box_is_read(box_format: str, reason: str, text: str) -> None:
    box, error = parse_box(text, box_format, families.FRAME)
    assert box is None and error is not None and reason in error and len(error) < 200


def test_the_table_has_every_format_and_many_answers() -> None:
    wrong = [row for table in families.NOT_READ.values() for row in flatten(table)]
    assert families.READ.keys() == families.NOT_READ.keys() == BOX_FORMATS.keys()
    assert len(flatten(families.READ)) + len(wrong) >= 150


@pytest.mark.parametrize(
    ("box_format", "text"),
    [
        ("norm1_cxcywh", "[0.500, 0.750, 0.500, 0.500]"),
        ("norm100", "{<25><50><75><100>}"),
        ("norm999", "[250, 500, 749, 999]"),
        ("norm999_padded", "[250, 500, 749, 874]"),
        ("norm1000_yxyx", '{"box_2d": [500, 250, 1000, 750]}'),
        ("loc1024_yxyx", "<loc0512><loc0256><loc1023><loc0768>"),
        ("loc1000", "<loc_250><loc_500><loc_750><loc_999>"),
        ("patch32", "<object><patch_index_0520><patch_index_1015></object>"),
        (
            "points_percent",
            '<points x1="25.0" y1="50.0" x2="75.0" y2="100.0" alt="box">box</points>',
        ),
    ],
)
def test_formats_by_hand(box_format: str, text: str) -> None:
    assert BOX_FORMATS[box_format].write((0.25, 0.5, 0.75, 1.0), SOME) == text


@pytest.mark.parametrize("box_format", BOX_FORMATS)
@given(box=boxes(), width=st.integers(1, 5000), height=st.integers(1, 5000))
def test_thoughts_around_it_change_nothing(
    box_format: str, box: Box, width: int, height: int
) -> None:
    frame = Frame(width, height, 812, 588)
    text, draft = (BOX_FORMATS[box_format].write(b, frame) for b in (box, (0.0, 0.0, 0.5, 0.5)))
    reasoned = f"<think>It could be {draft}.</think>\n<answer>{text}</answer>"
    assert parse_box(reasoned, box_format, frame) == parse_box(text, box_format, frame)


def test_every_cell_of_the_grid_is_as_in_transformers() -> None:
    """Kosmos-2's processor is the reference; the formula there is that of its authors' demo."""
    from transformers.models.kosmos2.processing_kosmos2 import (
        coordinate_to_patch_index,
        patch_index_to_coordinate,
    )

    patch32, frame = BOX_FORMATS["patch32"], Frame(640, 480)
    for upper_left in range(0, 1024, 7):
        for lower_right in range(upper_left, 1024, 5):
            x1, y1, x2, y2 = patch_index_to_coordinate(upper_left, lower_right, 32)
            text = f"<patch_index_{upper_left:04d}><patch_index_{lower_right:04d}>"
            box, _ = parse_box(text, "patch32", frame)
            assert box == ((x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None)
            if box:
                ul, lr = coordinate_to_patch_index(box, 32)
                assert f"<patch_index_{ul:04d}><patch_index_{lr:04d}>" in patch32.write(box, frame)


def test_bins_are_as_in_transformers() -> None:
    """Florence-2's processor is the reference: floor on the way in, centres on the way out."""
    import torch
    from transformers.models.florence2.processing_florence2 import Florence2PostProcessor

    size = (1_000_000, 1_000_000)  # pixels; the processor rounds to whole ones
    processor = Florence2PostProcessor.__new__(Florence2PostProcessor)
    processor.quantize_bins = (1000, 1000)
    for box in [(0.0, 0.1, 0.25, 0.5), (0.2504, 0.3336, 0.9999, 1.0), (0.7, 0.0005, 0.8, 0.9)]:
        pixels = torch.tensor([[value * 1_000_000 for value in box]])
        bins = processor.quantize(pixels, size)
        text = BOX_FORMATS["loc1000"].write(box, SOME)
        assert text == "".join(f"<loc_{value}>" for value in bins[0].tolist())
        back = processor.dequantize(bins, size)[0] / 1_000_000
        assert parse_box(text, "loc1000", SOME)[0] == pytest.approx(back.tolist(), abs=1e-6)


def test_every_format_has_its_rounding() -> None:
    assert ROUNDING.keys() == BOX_FORMATS.keys()
