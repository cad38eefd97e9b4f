"""The box that an answer states, or all of them, or why it states none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from perpo_core.perception.boxes.formats import BOX_FORMATS
from perpo_core.perception.boxes.geometry import Box, Frame
from perpo_core.perception.coordinates import Numbers
from perpo_core.perception.find_answer import find_answer

# A coordinate may overshoot the picture by this share of its side and is clamped; numbers further
# out were written in another convention (pixels read as 0-1, say).
MAX_OVERSHOOT = 0.5
# That nothing is there: an empty list, in whatever it stands, or the word alone.
EMPTY_LIST = re.compile(r"\[\s*\]")
NONE = re.compile(r"[\W_]*(?:none|nothing)[\W_]*", re.IGNORECASE)


@dataclass(frozen=True)
class StatedBoxes:
    """All boxes that an answer states; none where it says that there are none."""

    boxes: list[Box]
    num_empty: int = 0
    """Further ones, without an area inside the image."""

    @property
    def num(self) -> int:
        """How many the answer states."""
        return len(self.boxes) + self.num_empty


def parse_box(text: str, box_format: str, frame: Frame) -> tuple[Box | None, str | None]:
    """The box an answer states, in internal form: (box, None), or (None, why there is none).

    Takes the first box in that part of the text which is the answer, written as the format says:
    tokens or points, else as perpo_core.perception.coordinates finds it. Coordinates that overshoot
    the image a little are clamped to it. Raises ValueError where the format needs the resized size
    and the frame lacks it.
    """
    answer, problem = find_answer(text)
    if answer is None:
        return None, problem
    numbers, problem = BOX_FORMATS[box_format].notation.find(answer)
    if numbers is None:
        return None, problem
    return place_numbers(numbers, box_format, frame)


def place_numbers(numbers: Numbers, box_format: str, frame: Frame) -> tuple[Box | None, str | None]:
    """The box of four numbers that were found: (box, None), or (None, why they are none)."""
    problem = find_convention_problem([numbers], box_format, frame)
    if problem:
        return None, problem
    return _place(numbers, box_format, frame)


def parse_boxes(text: str, box_format: str, frame: Frame) -> tuple[StatedBoxes | None, str | None]:
    """All boxes an answer states, in internal form: (boxes, None), or (None, why there are none).

    Read as `parse_box` reads the first. An empty list (`[]`), or "none" and nothing else, says that
    there is no box; silence does not. A box that is turned round or lies outside the image is
    stated all the same, so that it counts among them.
    """
    answer, problem = find_answer(text)
    if answer is None:
        return None, problem
    found, problem = BOX_FORMATS[box_format].notation.find_all(answer)
    if not found and (EMPTY_LIST.search(answer) or NONE.fullmatch(answer)):
        return StatedBoxes([]), None
    problem = problem or find_convention_problem(found, box_format, frame)
    if problem:
        return None, problem
    placed = [_place(numbers, box_format, frame)[0] for numbers in found]
    boxes = [box for box in placed if box is not None]
    return StatedBoxes(boxes, len(placed) - len(boxes)), None


def _place(numbers: Numbers, box_format: str, frame: Frame) -> tuple[Box | None, str | None]:
    """The box in internal form, inside the image."""
    box = BOX_FORMATS[box_format].to_internal(numbers, frame)
    if box[2] <= box[0] or box[3] <= box[1]:
        return None, "x2 must be greater than x1 and y2 greater than y1"
    x1, y1, x2, y2 = (min(max(value, 0.0), 1.0) for value in box)
    if x2 <= x1 or y2 <= y1:
        return None, "the box lies outside the image"
    return (x1, y1, x2, y2), None


def find_convention_problem(boxes: Sequence[Numbers], box_format: str, frame: Frame) -> str | None:
    """Why the numbers of an answer's boxes cannot be of this format, or None."""
    canvas = BOX_FORMATS[box_format].compute_canvas(frame)
    sides = [side for _ in boxes for side in (*canvas, *canvas)]
    numbers = [number for box in boxes for number in box]
    for number, side in zip(numbers, sides, strict=True):
        if not -MAX_OVERSHOOT * side <= number <= (1 + MAX_OVERSHOOT) * side:
            return f"{number:g} is no coordinate in box format {box_format} (0 to {side:g})"
    if BOX_FORMATS[box_format].notation.has_tokens:
        return None
    if min(canvas) > 2 and max(abs(number) for number in numbers) <= 1:
        return f"the numbers look like 0-1, and box format {box_format} is 0 to {canvas[0]:g}"
    return None
