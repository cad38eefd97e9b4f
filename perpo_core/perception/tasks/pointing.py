"""Pointing: one point on what the prompt names.

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
from perpo_core.perception.legibility import Harm, find_box_harm, find_side_harm
from perpo_core.perception.numerals import compile_pattern, write_plainly
from perpo_core.perception.rewards.base import Reading, RewardResult, Target
from perpo_core.perception.tasks.base import GreedyMetric, Look, Shape, Task, Truth, as_values
from perpo_core.perception.truths.agreement import check_same_shape, check_same_size
from perpo_core.perception.truths.boxes import find_given_box
from perpo_core.perception.truths.boxes import parse_box as parse_true_box
from perpo_core.perception.truths.row import (
    MissingKey,
    Raw,
    RowError,
    Size,
    is_finite_number,
    show_value,
)

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


def parse_truth(raw: Raw, where: str, size: Size) -> Truth:
    """A box, checked as grounding's is, or `point` in pixels or `point_norm` in 0-1."""
    given = [key for key in TRUTH_KEYS if raw.get(key) is not None]
    points = [key for key in given if key in POINT_KEYS]
    if not given:
        keys = "box, box_norm, point (pixels of the upright image) or point_norm (0-1)"
        said = f"{where}: a pointing row needs one of {keys}"
        raise MissingKey("missing answer", said, "point")
    if not points:
        return parse_true_box(raw, where, size)
    if len(given) > 1:
        said = f"{where}: {' and '.join(given)} are two truths of one row; keep one"
        raise RowError("two truths", said)
    return _parse_point(raw, points[0], where, size)


def _parse_point(raw: Raw, key: str, where: str, size: Size) -> Point:
    value, sides = raw[key], size if key == "point" else (1, 1)
    for beside in DETAIL_KEYS:
        if raw.get(beside) not in (None, "", []):
            said = f"{where}: {beside} beside {key} is not read; remove {beside}"
            raise RowError("two truths", said)
    if not isinstance(value, list) or len(value) != 2 or not all(map(is_finite_number, value)):
        said = f"{where}: {key} {show_value(value)} is not two finite numbers, x and y"
        raise RowError("bad point", said)
    check = check_same_size if key == "point" else check_same_shape
    check(raw, key, where, size)
    if not all(0 <= number <= side for number, side in zip(value, sides, strict=True)):
        said = f"{where}: {key} {show_value(value)} lies outside the {size[0]}x{size[1]} image"
        raise RowError("point outside the image", said)
    if key == "point" and 0 < max(value) <= 1 and max(size) > 1:
        said = f"{where}: point {show_value(value)} looks like 0-1 numbers; name it point_norm"
        raise RowError("unknown point format", said)
    return float(value[0]) / sides[0], float(value[1]) / sides[1]


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
    problem = find_convention_problem(numbers, box_format, frame)
    if problem:
        return None, problem
    x, y, *_ = (min(max(v, 0.0), 1.0) for v in convention.to_internal(numbers, frame))
    return (x, y), None


def compute_pointing_reward(text: str, target: Target, reading: Reading) -> RewardResult:
    """1 inside the truth, else 1 - distance / half a diagonal, floored at 0."""
    point, error = parse_point(text, reading.box_format, reading.frame)
    if point is None:
        return RewardResult(None, error=error)
    distance = compute_distance(point, get_shape(target), reading.frame)
    return RewardResult(max(0.0, 1 - distance / FAR), parsed=list(point))


def compute_distance(point: Point, truth: Shape, frame: Frame) -> float:
    """From what is true, in diagonals of the image; 0 inside."""
    x1, y1, x2, y2 = truth if len(truth) == 4 else (*truth, *truth)
    dx = max(x1 - point[0], 0.0, point[0] - x2) * frame.width
    dy = max(y1 - point[1], 0.0, point[1] - y2) * frame.height
    distance = math.hypot(dx, dy) / math.hypot(frame.width, frame.height)
    return max(0.0, distance - NEAR) if len(truth) == 2 else distance


def get_shape(target: Target) -> Shape:
    """The true box, or the true point."""
    assert target["box"] is not None
    return as_shape(target["box"])


def as_shape(numbers: Sequence[float]) -> Shape:
    """Four numbers are a box, two a point."""
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    x1, y1, x2, y2 = numbers
    return x1, y1, x2, y2


def read_point(text: str, box_format: str, frame: Frame) -> Point | None:
    """For drawing."""
    return parse_point(text, box_format, frame)[0]


def find_harm(target: Target, size: Size, small: Size) -> Harm | None:
    """What scaling down does to what is pointed at."""
    shape = get_shape(target)
    return find_box_harm(shape, size, small) if len(shape) == 4 else find_side_harm(size, small)


POINT_KEYS = ("point", "point_norm")
TRUTH_KEYS = ("box", "box_norm", *POINT_KEYS)
DETAIL_KEYS = ("box_format", "answer")  # of a box, as in grounding
POINTING = Task(
    name="pointing",
    label="pointing",
    rewards={"pointing": compute_pointing_reward},
    metrics={
        "hits": GreedyMetric("share of hits", lambda reward_P: as_values(reward_P == 1)),
        "distance": GreedyMetric(
            "distance from the truth, in diagonals", lambda reward_P: (1 - reward_P) * FAR, True
        ),
    },
    headline="hits",
    truth_keys=TRUTH_KEYS,
    several_keys=TRUTH_KEYS,
    detail_keys=DETAIL_KEYS,
    other_names={"point": ("point_2d", "points", "click", "coordinate", "xy")},
    parse_truth=parse_truth,
    find_given_box=find_given_box,
    get_shape=get_shape,
    read_shape=read_point,
    describe_writing=lambda shape: "Points are written `[x, y]`",
    find_harm=find_harm,
    look=Look("#7a4fb5", "#b79ae0", "-."),
)
