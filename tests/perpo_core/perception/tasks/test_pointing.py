"""Pointing: hand-worked rewards, ways to write a point, truths of a row and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.perception.boxes import BOX_FORMATS, Frame
from perpo_core.perception.rewards import Reading, Target
from perpo_core.perception.rewards.pointing import FAR, compute_pointing_reward, parse_point
from perpo_core.perception.tasks import TASKS
from perpo_core.perception.truths.row import RowError

FRAME = Frame(300, 400)  # a diagonal of 500 pixels
READING = Reading(FRAME, "pixels")
BOX: Target = {"box": [0.2, 0.25, 0.4, 0.5], "text": None, "count": None}  # 60-120, 100-200 pixels
POINT: Target = {"box": [0.5, 0.5], "text": None, "count": None}  # 150, 200
FORMATS = [name for name, box_format in BOX_FORMATS.items() if not box_format.notation.has_tokens]


@pytest.mark.parametrize(
    ("answer", "target", "distance_pixels"),
    [
        ("[60, 100]", BOX, 0),  # on the corner
        ("[90, 150]", BOX, 0),
        ("[120, 240]", BOX, 40),  # below
        ("[150, 240]", BOX, 50),  # 30 to the right and 40 below
        ("[150, 200]", POINT, 0),
        ("[158, 206]", POINT, 0),  # 10 pixels away: within 2% of the diagonal
        ("[180, 240]", POINT, 40),  # 50 away, 10 of them are near
    ],
)
def test_rewards_worked_by_hand(answer: str, target: Target, distance_pixels: float) -> None:
    result = compute_pointing_reward(answer, target, READING)
    assert result.reward == pytest.approx(1 - distance_pixels / 500 / FAR)


def test_far_away_is_nothing_and_never_less() -> None:
    corner: Target = {"box": [0.0, 0.0, 0.01, 0.01], "text": None, "count": None}
    assert compute_pointing_reward("[300, 400]", corner, READING).reward == 0


@pytest.mark.parametrize(
    "answer",
    ["[30, 80]", "(30,80)", "30, 80", "It is at (30, 80).", '{"x": 30, "y": 80}', "x=30, y=80",
     '{"point_2d": [30, 80]}', '<point x="30" y="80" alt="cup">cup</point>',
     "<think>(1, 2)</think>[30, 80]",
     "[[10, 60], [50, 100]]", "[10, 60, 50, 100]", "x: 30 y: 80", "[ 30 , 80 ]",
     "[\uff13\uff10\u3001\uff18\uff10]"],
)  # fmt: skip
def test_ways_to_write_a_point(answer: str) -> None:
    point, error = parse_point(answer, "pixels", FRAME)
    assert error is None and point == pytest.approx((0.1, 0.2))


def test_a_point_is_written_in_the_order_of_its_format() -> None:
    """Gemini writes y before x, in thousandths of each side."""
    point, _ = parse_point('{"point": [200, 100]}', "norm1000_yxyx", FRAME)
    assert point == pytest.approx((0.1, 0.2))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no points"), ("nowhere", "no points"), ("[30]", "no points"),
        ("[30, 80, 90]", "no points"), ("[1, 2] or [3, 4] or [5, 6]", "3 points"),
        ("[30, 8000]", "is no coordinate in box format pixels"), ("[0.1, 0.2]", "look like 0-1"),
        ("<think>[30, 80]", "thought"), ("[30, 8O]", "no points"), ("x30, y80", "no points"),
    ],
)  # fmt: skip
def test_answers_without_a_point(answer: str, reason: str) -> None:
    point, error = parse_point(answer, "pixels", FRAME)
    assert point is None and error is not None and reason in error
    result = compute_pointing_reward(answer, BOX, READING)
    assert result.reward is None and result.error == error


@pytest.mark.parametrize("box_format", BOX_FORMATS)
@given(box=st.tuples(*[st.floats(0.05, 0.4), st.floats(0.05, 0.4)] * 2))
def test_a_box_of_any_format_points_at_its_centre(box_format: str, box: Any) -> None:
    x1, y1, x2, y2 = box[0], box[1], box[0] + 0.1 + box[2], box[1] + 0.1 + box[3]
    frame = Frame(300, 400, 280, 392)
    written = BOX_FORMATS[box_format].write((x1, y1, x2, y2), frame)
    point, error = parse_point(written, box_format, frame)
    assert error is None
    assert point == pytest.approx(((x1 + x2) / 2, (y1 + y2) / 2), abs=1 / 32)


@given(answer=st.text(max_size=60))
def test_no_text_breaks_it(answer: str) -> None:
    for box_format in BOX_FORMATS:
        reading = Reading(Frame(300, 400, 280, 392), box_format)
        result = compute_pointing_reward(answer, BOX, reading)
        assert (result.reward is None) == (result.error is not None)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1))
def test_nearer_is_never_worse(x: float, y: float, share: float) -> None:
    middle = (0.3, 0.375)
    near = (x + share * (middle[0] - x), y + share * (middle[1] - y))
    reading = Reading(FRAME, "norm1")
    rewards = [
        compute_pointing_reward(f"[{a:.6f}, {b:.6f}]", BOX, reading).reward
        for a, b in (near, (x, y))
    ]
    assert rewards[0] is not None and rewards[1] is not None
    assert rewards[0] >= rewards[1] - 1e-5


@pytest.mark.parametrize(
    ("row", "truth"),
    [
        ({"point": [30, 80]}, (0.1, 0.2)),
        ({"point_norm": [0.1, 0.2]}, (0.1, 0.2)),
        ({"point": [0, 0]}, (0.0, 0.0)),
        ({"box": [30, 80, 60, 120]}, (0.1, 0.2, 0.2, 0.3)),
        ({"box_norm": [0.1, 0.2, 0.2, 0.3]}, (0.1, 0.2, 0.2, 0.3)),
    ],
)
def test_truths_of_a_row(row: dict[str, Any], truth: tuple[float, ...]) -> None:
    assert TASKS["pointing"].parse_truth(row, "file row 1", (300, 400)) == pytest.approx(truth)


@pytest.mark.parametrize(
    ("row", "reason", "words"),
    [
        ({}, "missing answer", "needs one of"),
        ({"point": [30]}, "bad point", "two finite numbers"),
        ({"point": "30, 80"}, "bad point", "two finite numbers"),
        ({"point": [30, math.nan]}, "bad point", "two finite numbers"),
        ({"point": [True, 2]}, "bad point", "two finite numbers"),
        ({"point": [301, 80]}, "point outside the image", "300x400"),
        ({"point_norm": [30, 80]}, "point outside the image", "300x400"),
        ({"point": [0.1, 0.2]}, "unknown point format", "point_norm"),
        ({"point": [30, 80], "box": [30, 80, 60, 120]}, "two truths", "keep one"),
        ({"box": [30, 80, 20, 120]}, "empty box", "x1 < x2"),
        ({"point": [10**400, 1]}, "bad point", "two finite numbers"),
        ({"point": [30, 80], "width": 640, "height": 480}, "wrong image size", "point [30, 80]"),
        ({"point_norm": [0.1, 0.2], "width": 640, "height": 480}, "wrong image size", "shape"),
        ({"point": [30, 80], "answer": "[30, 80]"}, "two truths", "remove answer"),
        ({"point": [30, 80], "box_format": "xyxy_pixels"}, "two truths", "remove box_format"),
    ],
)
def test_rows_that_are_refused(row: dict[str, Any], reason: str, words: str) -> None:
    with pytest.raises(RowError) as refused:
        TASKS["pointing"].parse_truth(row, "file row 1", (300, 400))
    assert refused.value.reason == reason and words in str(refused.value)
