"""Boxes: one internal form, and named formats at the edge.

Internal form: (x1, y1, x2, y2), floats in 0-1 of the ORIGINAL image, x1 < x2 and y1 < y2. Every
model writes boxes in its own convention; a `BoxFormat` names that convention and converts at the
edge. The commonest reason for an IoU reward that stays at zero is a convention guessed wrongly,
so nothing here guesses: the format comes from the configuration, and numbers that plainly belong
to another convention are an error that says so, never a box.

Left out: GIoU and friends (a reward of its own when somebody needs it), and telling apart formats
whose numbers overlap (0-1000 and pixels of a large image): `perpo doctor CONFIG --probe` measures
those.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from perpo_core.perception.coordinates import Numbers, find_four_numbers

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 in 0-1 of the original image

# A coordinate may overshoot the picture by this share of its side and is clamped; numbers further
# out were written in another convention (pixels read as 0-1, say).
MAX_OVERSHOOT = 0.5


@dataclass(frozen=True)
class Frame:
    """Pixel sizes a format may need: of the original image, and of the image the model saw."""

    width: int
    height: int
    resized_width: int | None = None
    resized_height: int | None = None


@dataclass(frozen=True)
class BoxFormat:
    """How one family of models writes a box: the text, and what its four numbers mean."""

    compute_window: Callable[[Frame], Numbers]
    """Where the original image lies in the format's numbers: left, top, right, bottom."""
    num_decimals: int

    def write(self, box: Box, frame: Frame) -> str:
        """The text a model of this family writes for a box of the internal form."""
        left, top, right, bottom = self.compute_window(frame)
        width, height = right - left, bottom - top
        x1, y1, x2, y2 = box
        numbers = (left + x1 * width, top + y1 * height, left + x2 * width, top + y2 * height)
        return "[" + ", ".join(f"{number:.{self.num_decimals}f}" for number in numbers) + "]"

    def to_internal(self, numbers: Numbers, frame: Frame) -> Box:
        """Four numbers of this format as a box of the internal form, not yet checked or clamped."""
        left, top, right, bottom = self.compute_window(frame)
        width, height = right - left, bottom - top
        x1, y1, x2, y2 = numbers
        return ((x1 - left) / width, (y1 - top) / height, (x2 - left) / width, (y2 - top) / height)

    def compute_canvas(self, frame: Frame) -> tuple[float, float]:
        """Largest x and y that lie on the picture; padding is centred, so it counts twice."""
        left, top, right, bottom = self.compute_window(frame)
        return left + right, top + bottom


def _window_norm1_padded(frame: Frame) -> Numbers:
    side = max(frame.width, frame.height)
    left, top = (side - frame.width) / 2 / side, (side - frame.height) / 2 / side
    return left, top, left + frame.width / side, top + frame.height / side


def _window_pixels_resized(frame: Frame) -> Numbers:
    if frame.resized_width is None or frame.resized_height is None:
        raise ValueError(
            "box format pixels_resized needs the size of the image as the model saw it, "
            "and this policy's image processor does not tell it"
        )
    return 0.0, 0.0, float(frame.resized_width), float(frame.resized_height)


BOX_FORMATS: dict[str, BoxFormat] = {
    # 0-1 of the original image: the built-in policy, models that stretch the image.
    "norm1": BoxFormat(lambda frame: (0.0, 0.0, 1.0, 1.0), num_decimals=2),
    # 0-1 of the image padded to a square, centred: LLaVA-1.5.
    "norm1_padded": BoxFormat(_window_norm1_padded, num_decimals=2),
    # 0-1000 of the original image: Qwen2-VL, Qwen3-VL, InternVL.
    "norm1000": BoxFormat(lambda frame: (0.0, 0.0, 1000.0, 1000.0), num_decimals=0),
    # Pixels of the original image.
    "pixels": BoxFormat(
        lambda frame: (0.0, 0.0, float(frame.width), float(frame.height)), num_decimals=0
    ),
    # Pixels of the image as the model saw it after resizing: Qwen2.5-VL.
    "pixels_resized": BoxFormat(_window_pixels_resized, num_decimals=0),
}


def compute_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]; 0 when they do not touch.

    >>> compute_iou((0.0, 0.0, 0.5, 0.5), (0.25, 0.0, 0.75, 0.5))
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    intersection = max(width, 0.0) * max(height, 0.0)
    if intersection == 0:  # also when the product of two tiny sides underflows
        return 0.0
    return intersection / (_compute_area(a) + _compute_area(b) - intersection)


def _compute_area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def find_box_problem(box: Box) -> str | None:
    """Why this is not a box of the internal form, or None."""
    if not all(math.isfinite(value) for value in box):
        return "a coordinate is not finite"
    if box[2] <= box[0] or box[3] <= box[1]:
        return "x2 must be greater than x1 and y2 greater than y1"
    if min(box) < 0 or max(box) > 1:
        return "the box reaches outside the image"
    return None


def parse_box(text: str, box_format: str, frame: Frame) -> tuple[Box | None, str | None]:
    """The box an answer states, in internal form: (box, None), or (None, why there is none).

    Takes the first four coordinates as perpo_core.perception.coordinates finds them: a list, also
    inside JSON such as {"bbox_2d": [1, 2, 3, 4]}, two corners, or four names. Coordinates that
    overshoot the image a little are clamped to it. Raises ValueError where the format needs the
    resized size and the frame lacks it.
    """
    numbers, problem = find_four_numbers(text)
    if numbers is None:
        return None, problem
    problem = _find_convention_problem(numbers, box_format, frame)
    if problem:
        return None, problem
    box = BOX_FORMATS[box_format].to_internal(numbers, frame)
    if box[2] <= box[0] or box[3] <= box[1]:
        return None, "x2 must be greater than x1 and y2 greater than y1"
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in box)
    if x2 <= x1 or y2 <= y1:
        return None, "the box lies outside the image"
    return (x1, y1, x2, y2), None


def _find_convention_problem(numbers: Numbers, box_format: str, frame: Frame) -> str | None:
    """Why these numbers cannot be of this format, or None."""
    canvas = BOX_FORMATS[box_format].compute_canvas(frame)
    for number, side in zip(numbers, (*canvas, *canvas), strict=True):
        if not -MAX_OVERSHOOT * side <= number <= (1 + MAX_OVERSHOOT) * side:
            return f"{number:g} is no coordinate in box format {box_format} (0 to {side:g})"
    if min(canvas) > 2 and max(abs(number) for number in numbers) <= 1:
        return f"the numbers look like 0-1, and box format {box_format} is 0 to {canvas[0]:g}"
    return None
