"""Images that collect scales down so far that what is asked about them can no longer be seen."""

from __future__ import annotations

from collections.abc import Iterator

from perpo_core.doctor.findings import Finding
from perpo_core.doctor.naming import describe_rows
from perpo_core.perception.boxes import Box
from perpo_core.stages.collect.sources.rows import SampleRow
from perpo_core.vision.images import compute_scaled_size
from schemas.config import JsonlSource

# A page scanned at 600 dots an inch keeps a width of 1,448 pixels; a receipt of the same length
# keeps 91, for lines of some forty characters.
SMALLEST_TEXT_SIDE = 256  # pixels of the shorter side, where more than half of it is lost
SMALLEST_CHARACTER = 64  # pixels of the image for each character of its text: 8x8
SMALLEST_SIDE = 64  # the same where no text is read
SMALLEST_BOX = 4  # pixels of a box's shorter side
THINNEST_SIDE = 8  # pixels of an image as it is


def check_scaling(source: JsonlSource, rows: list[SampleRow]) -> Iterator[Finding]:
    """What source.max_image_side makes of each row's image; one finding a kind of harm."""
    limit = source.max_image_side
    advice = f"cut the image into pieces or raise source.max_image_side ({limit})"
    found: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        harm = _find_harm(row, limit)
        if harm:
            found.setdefault(harm[0], []).append((row["row"], harm[1]))
    for kind, of_kind in found.items():
        what_to_do = "is that the right image?" if kind == "thin" else advice
        yield Finding("warning", f"source: {describe_rows(of_kind, what_to_do)}")


def _find_harm(row: SampleRow, limit: int) -> tuple[str, str] | None:
    """(kind, what happens to the row's image), or None."""
    width, height = size = row["width"], row["height"]
    small = compute_scaled_size(size, limit)
    if small == size:
        if min(size) < THINNEST_SIDE:
            return "thin", f"has an image of {width}x{height}, where hardly anything can be seen"
        return None
    scaled = f"is scaled from {width}x{height} to {small[0]}x{small[1]}"
    if row["task"] == "ocr" and _is_illegible(row["target"]["text"], size, small):
        return "text", f"{scaled}, text becomes illegible"
    if row["task"] == "grounding":
        box = _measure(row["target"]["box"], small)
        if min(box) < SMALLEST_BOX:
            return "box", f"{scaled}, its box shrinks to {box[0]:.1f}x{box[1]:.1f} pixels"
    if row["task"] != "ocr" and _loses_half(size, small) and min(small) < SMALLEST_SIDE:
        return "side", f"{scaled}, hardly anything can be seen"
    return None


def _is_illegible(text: str, size: tuple[int, int], small: tuple[int, int]) -> bool:
    if not text:  # a blank page stays blank
        return False
    is_narrow = _loses_half(size, small) and min(small) < SMALLEST_TEXT_SIDE
    return is_narrow or small[0] * small[1] < SMALLEST_CHARACTER * len(text)


def _loses_half(size: tuple[int, int], small: tuple[int, int]) -> bool:
    return max(small) < max(size) / 2


def _measure(box: Box, size: tuple[int, int]) -> tuple[float, float]:
    """Width and height in pixels of a box in 0-1."""
    x1, y1, x2, y2 = box
    return (x2 - x1) * size[0], (y2 - y1) * size[1]
