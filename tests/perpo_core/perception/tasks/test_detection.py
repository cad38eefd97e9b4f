"""Detection: boxes of every format, rewards against every matching there is, truths of rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.perception.boxes import BOX_FORMATS, Box, Frame, compute_iou, parse_box, parse_boxes
from perpo_core.perception.judging import Item, Judge
from perpo_core.perception.rewards import REWARDS, Reading, Target
from perpo_core.perception.tasks import TASKS
from perpo_core.perception.truths.row import MissingKey, RowError
from schemas.config import ScoreConfig
from tests.perpo_core.perception import families

FRAME = Frame(100, 100)
READING = Reading(FRAME, "pixels")
SIZE = (200, 100)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """In pixels of FRAME; large enough for every format."""
    x1, y1 = draw(st.integers(0, 80)), draw(st.integers(0, 80))
    return x1, y1, x1 + draw(st.integers(10, 20)), y1 + draw(st.integers(10, 20))


def aim(true: Sequence[Box]) -> Target:
    return {"box": None, "text": None, "count": None, "boxes": [_shrink(box) for box in true]}


def _shrink(box: Box) -> list[float]:
    return [value / 100 for value in box]


def judge(name: str, text: str, true: Sequence[Box], **options: Any) -> float | None:
    reward = REWARDS[name]
    return reward.compute_best(text, aim(true), READING, reward.build_options(options)).reward


def write(stated: Sequence[Box]) -> str:
    return str([list(box) for box in stated])


def find_best(a: Sequence[Box], b: Sequence[Box], worth: Callable[[float], float]) -> float:
    """Over every one-to-one matching."""
    few, many = sorted((a, b), key=len)
    return max(
        sum(worth(compute_iou(x, y)) for x, y in zip(few, chosen, strict=True))
        for chosen in itertools.permutations(many, len(few))
    )


FEW = st.lists(boxes(), max_size=4)


@given(FEW, FEW, st.floats(0.05, 1))
def test_rewards_are_those_of_the_best_of_all_matchings(
    stated: list[Box], true: list[Box], threshold: float
) -> None:
    num = len(stated) + len(true)
    f1 = 2 * find_best(stated, true, lambda iou: iou >= threshold - 1e-9) / num if num else 1.0
    near = any(abs(compute_iou(a, b) - threshold) < 1e-6 for a in stated for b in true)
    assert near or judge("detection_f1", write(stated), true, threshold=threshold) == (
        pytest.approx(f1)
    )
    most = max(len(stated), len(true))
    iou = find_best(stated, true, lambda iou: iou) / most if most else 1.0
    assert judge("matched_iou", write(stated), true) == pytest.approx(iou)


A, B, C = (0, 0, 20, 20), (40, 0, 60, 20), (0, 60, 20, 80)


@pytest.mark.parametrize(
    ("stated", "true", "f1", "iou"),
    [
        ([A, B], [B, A], 1.0, 1.0),
        ([A], [A, B], 2 / 3, 0.5),
        ([A, A, A], [A], 0.5, 1 / 3),  # said three times, it is one box and two wrong ones
        ([A, B, C], [A], 0.5, 1 / 3),
        ([C], [A], 0.0, 0.0),
        ([], [], 1.0, 1.0),
        ([], [A], 0.0, 0.0),
        ([A], [], 0.0, 0.0),
        ([A, (50, 50, 50, 60)], [A], 2 / 3, 0.5),  # of no width
        ([A, (60, 20, 40, 0)], [A, B], 0.5, 0.5),  # turned round
    ],
)
def test_rewards_worked_by_hand(stated: list[Box], true: list[Box], f1: float, iou: float) -> None:
    assert judge("detection_f1", write(stated), true) == pytest.approx(f1)
    assert judge("matched_iou", write(stated), true) == pytest.approx(iou)


def test_a_pair_is_given_up_where_two_others_come_of_it() -> None:
    """One pair of IoU 0.9 is worth less than two above the threshold."""
    true = [(0, 0, 10, 10), (0, 4, 10, 14)]
    stated = [(0, 1, 10, 11), (0, 0, 10, 7)]
    assert judge("detection_f1", write(stated), true) == 1.0


@pytest.mark.parametrize(
    "text",
    ["[]", "[ ]", "[[]]", "none", "None.", '"none"', "```json\n[]\n```", '{"boxes": []}',
     '[{"bbox_2d": []}]', "<think>one? no</think>[]", "<answer>none</answer>", "**Nothing**"],
)  # fmt: skip
@pytest.mark.parametrize("box_format", BOX_FORMATS)
def test_ways_to_say_that_nothing_is_there(text: str, box_format: str) -> None:
    stated, error = parse_boxes(text, box_format, families.FRAME)
    assert error is None and stated is not None and stated.num == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no four numbers"),
        ("two dogs", "no four numbers"),
        ("none of them is at the left", "no four numbers"),
        ("<think>[1, 2, 3, 40]", "never closed"),
        ("[1, 2, 3, 40, 5]", "5 numbers in a row where a box has four"),
        ("[1, 2, 3, 40], [1, 2, 3, 40, 5]", "5 numbers in a row"),
        ("[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 1, 1]", "the numbers look like 0-1"),
        ("[10, 20, 30, 40], [10, 20, 300, 400]", "300 is no coordinate in box format pixels"),
        ("(1, 2), (30, 2), (30, 40), (1, 40)", "4 corners where a box has two"),
    ],
)
def test_what_says_neither_which_nor_none_has_a_reason(text: str, why: str) -> None:
    stated, error = parse_boxes(text, "pixels", FRAME)
    assert stated is None and error is not None and why in error


def test_a_box_of_a_pixel_among_others_is_no_other_convention() -> None:
    stated, _ = parse_boxes("[0, 0, 1, 1], [10, 20, 30, 40]", "pixels", FRAME)
    assert stated is not None and stated.boxes == [(0, 0, 0.01, 0.01), (0.1, 0.2, 0.3, 0.4)]


@pytest.mark.parametrize("box_format", BOX_FORMATS)
@given(some=st.lists(boxes(), min_size=1, max_size=5), between=st.sampled_from([" ", "\n", ", ",
       " and ", "; ", "\nthe dog: "]))  # fmt: skip
def test_boxes_of_every_format_are_read_one_by_one(
    box_format: str, some: list[Box], between: str
) -> None:
    written = [
        BOX_FORMATS[box_format].write((a / 100, b / 100, c / 100, d / 100), families.FRAME)
        for a, b, c, d in some
    ]
    alone = [parse_box(text, box_format, families.FRAME)[0] for text in written]
    stated, error = parse_boxes(between.join(written), box_format, families.FRAME)
    assert error is None and stated is not None and None not in alone
    assert stated.boxes == alone


@pytest.mark.parametrize(
    ("box_format", "text"),
    [(name, text) for name, texts in families.READ.items() for text in texts],
)
def test_what_is_read_as_one_box_is_the_first_of_all(box_format: str, text: str) -> None:
    first, _ = parse_box(text, box_format, families.FRAME)
    stated, error = parse_boxes(text, box_format, families.FRAME)
    assert error is None and stated is not None and stated.boxes[0] == first


@pytest.mark.parametrize(
    ("box_format", "text"),
    [
        ("norm1000", '[{"bbox_2d": [100, 100, 200, 200], "label": "dog 1"},\n'
         '{"bbox_2d": [300, 100, 400, 200], "label": "dog 2"}]'),
        ("norm1000", "<ref>dog</ref><box>[[100, 100, 200, 200], [300, 100, 400, 200]]</box>"),
        ("norm1000", "dog(100,100),(200,200)dog(300,100),(400,200)"),
        ("norm1000", "(100,100),(200,200),(300,100),(400,200)"),
        ("norm1000", "<box>100 100 200 200</box> <box>300 100 400 200</box>"),
        ("norm1000", '{"x1": 100, "y1": 100, "x2": 200, "y2": 200}, '
         '{"x1": 300, "y1": 100, "x2": 400, "y2": 200}'),
        ("norm1000_yxyx", '[{"box_2d": [100, 100, 200, 200]}, {"box_2d": [100, 300, 200, 400]}]'),
        ("norm100", "{<10><10><20><20>}<delim>{<30><10><40><20>}"),
        ("norm999", "<bin_100><bin_100><bin_200><bin_200><bin_300><bin_100><bin_400><bin_200>"),
        ("points_percent", '<points x1="10" y1="10" x2="20" y2="20" x3="30" y3="10" x4="40" y4="20"'
         ' alt="dogs">dogs</points>'),
    ],
)  # fmt: skip
def test_two_boxes_as_families_write_them(box_format: str, text: str) -> None:
    stated, error = parse_boxes(text, box_format, FRAME)
    assert error is None and stated is not None and stated.num == 2
    for box, expected in zip(
        stated.boxes, ((0.1, 0.1, 0.2, 0.2), (0.3, 0.1, 0.4, 0.2)), strict=True
    ):
        assert box == pytest.approx(expected, abs=1e-3)


# Truths of a row


def parse(**raw: Any) -> Any:
    return TASKS["detection"].parse_truth(raw, "a.jsonl:7", SIZE)


def test_truths_in_pixels_and_in_0_1() -> None:
    assert parse(boxes=[[20, 10, 40, 20], [0, 0, 200, 100]]) == [
        (0.1, 0.1, 0.2, 0.2), (0.0, 0.0, 1.0, 1.0),
    ]  # fmt: skip
    assert parse(boxes_norm=[[0.1, 0.1, 0.2, 0.2]]) == [pytest.approx((0.1, 0.1, 0.2, 0.2))]
    assert parse(boxes=[]) == parse(boxes_norm=[]) == []


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({}, "a.jsonl:7: a detection row needs boxes (pixels of the upright image) or boxes_norm"),
        ({"boxes": [], "boxes_norm": []}, "boxes and boxes_norm are two truths of one row"),
        ({"boxes": [1, 2, 3, 4]}, "a.jsonl:7: boxes [1, 2, 3, 4] is no list of boxes; write"),
        ({"boxes": "none"}, 'boxes "none" is no list of boxes'),
        ({"boxes": [[1, 2, 3]]}, "a.jsonl:7, boxes item 1: box [1, 2, 3] is not four finite"),
        ({"boxes": [[2, 2, 9, 9], [9, 2, 2, 9]]}, "boxes item 2: box [9, 2, 2, 9] must have x1"),
        ({"boxes": [[2, 2, 900, 9]]}, "reaches 700 pixels outside the 200x100 image"),
        ({"boxes": [[0.1, 0.1, 0.2, 0.2]]}, "looks like 0-1 numbers"),
        ({"boxes": [[2, 2, 9, 9]] * 2}, "boxes has the box [2, 2, 9, 9] twice; keep one"),
        ({"boxes": [[2, 2, 9, 9]], "width": 100}, "width says 100 but the image is 200x100"),
        ({"boxes_norm": [[0, 0, 1, 1]], "box_format": "xywh"}, "box_format beside box_norm"),
        ({"boxes": [[0, 0, 2, 2]] * 1001}, "boxes has 1001 boxes and may have 1000"),
    ],
)
def test_truths_that_are_none_are_refused_in_a_sentence(raw: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RowError) as refused:
        parse(**raw)
    assert sentence in str(refused.value)
    assert isinstance(refused.value, MissingKey) == (not raw)


# The task


def test_its_metric_is_f1_whatever_it_is_rewarded_with() -> None:
    score = ScoreConfig.model_validate({"detection": {"reward": {"matched_iou": 2.0}}})
    item = Item(write([A, (0, 60, 20, 90)]), "detection", aim([A, C]), FRAME)
    [judgement] = Judge(score, "pixels").judge_many([item], with_measure=True)
    assert judgement.rewards == {"matched_iou": pytest.approx((1 + 2 / 3) / 2)}
    assert judgement.measure == 1.0 and judgement.reward == pytest.approx(1 + 2 / 3)


def test_every_box_is_drawn() -> None:
    task = TASKS["detection"]
    assert task.get_shapes is not None and task.read_shapes is not None
    assert task.get_shapes(aim([A, B])) == [(0, 0, 0.2, 0.2), (0.4, 0, 0.6, 0.2)]
    assert task.read_shapes(write([A, B]), "pixels", FRAME) == task.get_shapes(aim([A, B]))
    assert task.read_shapes("nowhere", "pixels", FRAME) == []


def test_scaling_harms_the_smallest_box() -> None:
    target = aim([(0, 0, 90, 90), (0, 0, 2, 90)])
    harm = TASKS["detection"].find_harm(target, (1000, 1000), (100, 100))
    assert harm is not None and harm[0] == "box"
    assert TASKS["detection"].find_harm(aim([]), (1000, 1000), (500, 500)) is None
