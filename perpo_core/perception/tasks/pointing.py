"""Pointing: one point on what the prompt names; the truth is a box or a point."""

from __future__ import annotations

import math
from collections.abc import Sequence

from perpo_core.perception.boxes import BOX_FORMATS, Frame
from perpo_core.perception.degrading import POINT
from perpo_core.perception.legibility import Harm, find_box_harm, find_side_harm
from perpo_core.perception.rewards.base import Target
from perpo_core.perception.rewards.pointing import FAR, Point, parse_point, write_point
from perpo_core.perception.tasks.base import (
    GreedyMetric,
    Look,
    Shape,
    Task,
    Truth,
    WrittenTruth,
    as_values,
)
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


def read_shapes(text: str, box_format: str, frame: Frame) -> list[Shape]:
    """The point that an answer states, if it does."""
    point = parse_point(text, box_format, frame)[0]
    return [] if point is None else [point]


def write_truth(target: Target, box_format: str, frame: Frame) -> WrittenTruth:
    """The point, of a box its centre; what the format rounds is a distance."""
    shape = get_shape(target)
    x1, y1, x2, y2 = shape if len(shape) == 4 else (*shape, *shape)
    dx, dy = BOX_FORMATS[box_format].compute_shift(frame)
    shift = math.hypot(dx * frame.width, dy * frame.height)
    text = write_point(((x1 + x2) / 2, (y1 + y2) / 2), box_format, frame)
    return WrittenTruth(text, max(0.0, 1 - shift / math.hypot(frame.width, frame.height) / FAR))


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
    rewards=("pointing", "point_in_box"),
    measure="pointing",
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
    write_truth=write_truth,
    find_given_box=find_given_box,
    get_shapes=lambda target: [get_shape(target)],
    read_shapes=read_shapes,
    describe_writing=lambda shape: "Points are written `[x, y]`",
    find_harm=find_harm,
    degrader=POINT,
    look=Look("#7a4fb5", "#b79ae0", "-."),
)
