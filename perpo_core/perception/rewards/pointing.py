"""Pointing: how near the stated point comes to the truth.

The truth is a box, inside which every point is right, or a point, around which all within
NEAR of the image's diagonal is. Elsewhere the reward falls with the distance, linearly, to 0 at
half a diagonal: a policy that misses learns in which direction, and two misses differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from perpo_core.perception.boxes import BOX_FORMATS, Frame, find_convention_problem, parse_box
from perpo_core.perception.coordinates.plain import COMMA, PLAIN
from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.numerals import compile_pattern, write_plainly
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target

NEAR = 0.02  # of the diagonal: a point that is true is somebody's click, not a pixel
FAR = 0.5  # of the diagonal: reward 0 from here on
QUOTE = r"[\"'`]?+"
IS = rf"{QUOTE}\s*+[:=]\s*+{QUOTE}"
BOTH = rf"\s*+({PLAIN})\s*+{COMMA}\s*+({PLAIN})\s*+"
LONE = compile_pattern(BOTH)
PAIR = compile_pattern(
    rf"[\[(]{BOTH}[\])]"
    rf"|(?<![\p{{L}}\p{{N}}_])x{IS}({PLAIN}){QUOTE}[\s,]*+{QUOTE}y{IS}({PLAIN})(?![\p{{N}}.])"
)
Point = tuple[float, float]
"""x, y in 0-1 of the original image."""


def parse_point(text: str, box_format: str, frame: Frame) -> tuple[Point | None, str | None]:
    """The point that an answer states: (point, None), or (None, why there is none).

    One pair of numbers, in brackets, named x and y, or alone, in the units of the box format; of a
    box its centre, as ScreenSpot counts models that answer with boxes (arXiv 2401.10935).
    """
    box, _ = parse_box(text, box_format, frame)
    if box is not None:
        return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), None
    answer, problem = find_answer(text)
    if answer is None:
        return None, problem
    plain = write_plainly(answer)
    lone = LONE.fullmatch(plain)
    pairs = [lone] if lone else list(PAIR.finditer(plain))
    convention = BOX_FORMATS[box_format]
    if len(pairs) != 1 or convention.notation.has_tokens:
        return None, f"{len(pairs) or 'no'} points in the answer where one was expected"
    x, y = (float(number) for number in pairs[0].groups() if number is not None)
    numbers = (y, x, y, x) if convention.notation.is_y_first else (x, y, x, y)
    problem = find_convention_problem([numbers], box_format, frame)
    if problem:
        return None, problem
    x, y, *_ = (min(max(v, 0.0), 1.0) for v in convention.to_internal(numbers, frame))
    return (x, y), None


def write_point(point: Point, box_format: str, frame: Frame) -> str:
    """[x, y] in the units of the box format; of tokens, which write no points, a small box of which
    it is the centre."""
    convention = BOX_FORMATS[box_format]
    if convention.notation.has_tokens:
        # Two bins wide and inside the image, so that no side of it is rounded away.
        dx, dy = convention.compute_shift(frame)
        x, y = min(max(point[0], dx), 1 - dx), min(max(point[1], dy), 1 - dy)
        return convention.write((x - dx, y - dy, x + dx, y + dy), frame)
    left, top, right, bottom = convention.compute_window(frame)
    numbers = [left + point[0] * (right - left), top + point[1] * (bottom - top)]
    if convention.notation.is_y_first:
        numbers.reverse()
    first, second = (f"{number:.{convention.notation.num_decimals}f}" for number in numbers)
    return f"[{first}, {second}]"


def compute_pointing_reward(text: str, target: Target, reading: Reading) -> RewardResult:
    """1 inside the truth, else 1 - distance / half a diagonal, floored at 0."""
    point, error = parse_point(text, reading.box_format, reading.frame)
    if point is None:
        return RewardResult(None, error=error)
    assert target["box"] is not None
    distance = compute_distance(point, target["box"], reading.frame)
    return RewardResult(max(0.0, 1 - distance / FAR), parsed=list(point))


def compute_distance(point: Point, truth: Sequence[float], frame: Frame) -> float:
    """From what is true, in diagonals of the image; 0 inside."""
    x1, y1, x2, y2 = truth if len(truth) == 4 else (*truth, *truth)
    dx = max(x1 - point[0], 0.0, point[0] - x2) * frame.width
    dy = max(y1 - point[1], 0.0, point[1] - y2) * frame.height
    distance = math.hypot(dx, dy) / math.hypot(frame.width, frame.height)
    return max(0.0, distance - NEAR) if len(truth) == 2 else distance


POINTING = Reward("pointing", compute_pointing_reward)
