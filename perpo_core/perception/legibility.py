"""What scaling an image down does to what is asked about it: (kind of harm, in words), or None."""

from __future__ import annotations

from collections.abc import Sequence

from perpo_core.perception.truths.row import Size

# A page scanned at 600 dots an inch keeps a width of 1,448 pixels; a receipt of the same length
# keeps 91, for lines of some forty characters.
SMALLEST_TEXT_SIDE = 256  # pixels of the shorter side, where more than half of it is lost
SMALLEST_CHARACTER = 64  # pixels of the image for each character of its text: 8x8
SMALLEST_SIDE = 64  # the same where no text is read
SMALLEST_BOX = 4  # pixels of a box's shorter side

Harm = tuple[str, str]
"""Its kind, and what happens."""


def find_text_harm(text: str, size: Size, small: Size) -> Harm | None:
    """To the text of an image of `size` that is scaled to `small`; a blank page stays blank."""
    is_narrow = _loses_half(size, small) and min(small) < SMALLEST_TEXT_SIDE
    if text and (is_narrow or small[0] * small[1] < SMALLEST_CHARACTER * len(text)):
        return "text", "text becomes illegible"
    return None


def find_box_harm(box: Sequence[float], size: Size, small: Size) -> Harm | None:
    """To a box, x1, y1, x2, y2 in 0-1."""
    x1, y1, x2, y2 = box
    width, height = (x2 - x1) * small[0], (y2 - y1) * small[1]
    if min(width, height) < SMALLEST_BOX:
        return "box", f"its box shrinks to {width:.1f}x{height:.1f} pixels"
    return find_side_harm(size, small)


def find_side_harm(size: Size, small: Size) -> Harm | None:
    """To anything at all."""
    if _loses_half(size, small) and min(small) < SMALLEST_SIDE:
        return "side", "hardly anything can be seen"
    return None


def _loses_half(size: Size, small: Size) -> bool:
    return max(small) < max(size) / 2
