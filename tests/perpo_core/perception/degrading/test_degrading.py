"""Versions of an answer have the degree they are said to have, by what is read of them."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.perception.boxes import BOX_FORMATS, Frame, compute_iou, parse_box, parse_boxes
from perpo_core.perception.degrading import (
    BOX,
    BOXES,
    CELLS,
    COUNT,
    POINT,
    VALUES,
    WORDS,
    Degrader,
    Spread,
)
from perpo_core.perception.json_objects import parse_json_object
from perpo_core.perception.rewards.base import Reading
from perpo_core.perception.rewards.counts import parse_count
from perpo_core.perception.rewards.pointing import parse_point, write_point
from perpo_core.perception.rewards.texts import split_words
from perpo_core.perception.tables.parse import parse_table
from perpo_core.perception.tasks import TASKS

FRAME = Frame(640, 480, 644, 476)
MANY = settings(max_examples=60, deadline=None)
num_degrees = st.integers(2, 7)
seeds = st.integers(0, 10**6)


def read_by(box_format: str) -> Reading:
    return Reading(FRAME, box_format)


READING = read_by("norm1000")


def spread(num_degrees: int = 4, seed: int = 0, counts: dict[str, int] | None = None) -> Spread:
    return Spread(num_degrees, random.Random(seed), counts or {})


def degrade(degrader: Degrader, answer: str, drawn: Spread, reading: Reading = READING) -> Any:
    """All versions of an answer that has some."""
    texts, why = degrader.degrade(answer, reading, drawn)
    assert texts is not None and why is None, why
    assert len(texts) == len(set(texts)) == drawn.num_degrees
    return texts


# Boxes and points


@st.composite
def draw_boxes(draw: Any) -> tuple[float, float, float, float]:
    """No side below a fifth of the image, which every format can move by small steps."""
    x, y = draw(st.floats(0, 0.75)), draw(st.floats(0, 0.75))
    return x, y, draw(st.floats(x + 0.2, 1)), draw(st.floats(y + 0.2, 1))


@pytest.mark.parametrize("box_format", BOX_FORMATS)
@MANY
@given(box=draw_boxes(), seed=seeds)
def test_the_iou_falls_into_its_bin_and_falls_with_the_degree(box_format, box, seed):
    """4 degrees: 1, [1/2, 3/4), [1/4, 1/2), [0, 1/4)."""
    text, reading = BOX_FORMATS[box_format].write(box, FRAME), read_by(box_format)
    first, *worse = degrade(BOX, text, spread(seed=seed), reading)
    own, said = (parse_box(each, box_format, FRAME)[0] for each in (first, text))
    assert own is not None and said is not None and compute_iou(own, said) > 0.99
    ious = [1.0]
    for degree, version in enumerate(worse, start=1):
        moved, _ = parse_box(version, box_format, FRAME)
        assert moved is not None
        ious.append(compute_iou(own, moved))
        assert (3 - degree) / 4 <= ious[-1] < (4 - degree) / 4
    assert ious == sorted(ious, reverse=True)


@MANY
@given(boxes=st.lists(draw_boxes(), min_size=1, max_size=4), num_degrees=num_degrees, seed=seeds)
def test_every_box_of_an_answer_moves_by_the_degree(boxes, num_degrees, seed):
    text = "\n".join(BOX_FORMATS["norm1000"].write(box, FRAME) for box in boxes)
    first, *worse = degrade(BOXES, text, spread(num_degrees, seed))
    own, _ = parse_boxes(first, "norm1000", FRAME)
    assert own is not None and own.num == len(boxes)
    for degree, version in enumerate(worse, start=1):
        moved, _ = parse_boxes(version, "norm1000", FRAME)
        assert moved is not None and moved.num == own.num
        for a, b in zip(own.boxes, moved.boxes, strict=True):
            low = (num_degrees - 1 - degree) / num_degrees
            assert low <= compute_iou(a, b) < low + 1 / num_degrees + 1e-12


@pytest.mark.parametrize("box_format", ["norm1", "norm1000", "norm1000_yxyx", "loc1024_yxyx"])
@MANY
@given(x=st.floats(0.01, 1), y=st.floats(0.01, 1), number=st.integers(2, 16), seed=seeds)
def test_a_point_is_as_far_away_as_its_degree_says(box_format, x, y, number, seed):
    """Of 4 degrees: [0, 1/8), [1/8, 1/4), [1/4, 3/8), [3/8, 1/2) of the diagonal, which is 800; of
    what is read of the texts, whose digits are few where degrees are many."""
    reading = read_by(box_format)
    text = write_point((x, y), box_format, FRAME)
    texts = degrade(POINT, text, spread(number, seed), reading)
    points = [parse_point(version, box_format, FRAME)[0] or (9.0, 9.0) for version in texts]
    for degree, point in enumerate(points):
        dx, dy = (a - b for a, b in zip(point, points[0], strict=True))
        distance = math.hypot(dx * 640, dy * 480) / 800
        assert degree <= 2 * number * distance + 1e-9 < degree + 1 + 2e-9


def test_words_around_a_box_are_in_no_version():
    """All versions are written in one way, so that the way tells nothing."""
    said = "Here it is: (100, 200, 300,400)."
    texts = degrade(BOX, said, spread())
    assert texts[0] == "[100, 200, 300, 400]"
    assert all(text.startswith("[") and text.endswith("]") for text in texts)


# Counts


@MANY
@given(count=st.integers(0, 1000), num_degrees=num_degrees, seed=seeds)
def test_a_count_is_off_by_its_degree(count, num_degrees, seed):
    texts = degrade(COUNT, f"I see {count} of them.", spread(num_degrees, seed))
    counts = [parse_count(text)[0] or 0 for text in texts]
    assert [abs(each - count) for each in counts] == list(range(num_degrees))
    assert min(counts) >= 0


def test_counts_go_both_ways():
    texts = [degrade(COUNT, "9", spread(seed=seed))[1] for seed in range(20)]
    assert set(texts) == {"8", "10"}


# Texts, objects, tables


SAID = ("the", "of", "a", "rose", "tea", "milk", "total", "12.50", "cafe")
words = st.lists(st.sampled_from(SAID), min_size=9)


@MANY
@given(lines=st.lists(words, min_size=1, max_size=3), num_degrees=num_degrees, seed=seeds)
def test_the_rarest_words_go_a_portion_a_degree(lines, num_degrees, seed):
    text = "\n".join(" ".join(line) for line in lines)
    counts = {"the": 90, "of": 80, "a": 70, "total": 9, "cafe": 1}
    texts = degrade(WORDS, text, spread(num_degrees, seed, counts))
    assert texts[0] == text
    all_words = split_words(text)
    num_key = max(num_degrees - 1, len(all_words) // 2)
    before = all_words
    for degree, version in enumerate(texts):
        left = split_words(version)
        assert len(all_words) - len(left) == num_key * degree // (num_degrees - 1)
        assert not Counter(left) - Counter(before), "what is gone stays gone"
        assert is_within(left, before), "what stays stands in its order"
        before = left
    gone = Counter(all_words) - Counter(before)
    assert max(counts.get(word, 0) for word in gone) <= min(counts.get(w, 0) for w in before)


def is_within(part: list[str], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in part)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a rose\nname\n\nof it", ["a\nname\n\nof it", "a\n\nof it"]),
        ("  rose by any name", ["  by any name", "  by any"]),
        ("name and rose of", ["name and of", "and of"]),
        ("\u5408 rose \u8a08 name", ["\u5408 \u8a08 name", "\u5408 \u8a08"]),
    ],
)
def test_what_words_leave_behind(text, expected):
    """Spaces of one side, no blank line that was none; Han is split by its letters."""
    common = ("a", "by", "of", "it", "any", "and", "\u5408", "\u8a08")
    counts = dict.fromkeys(common, 9) | {"name": 1}
    assert degrade(WORDS, text, spread(3, counts=counts))[1:] == expected


def test_a_short_text_loses_characters():
    texts = degrade(WORDS, "481\n20", spread())
    assert [len(text.replace("\n", "")) for text in texts] == [5, 4, 3, 2]
    assert all(is_within(list(text), list("481\n20")) for text in texts)
    assert "\n\n" not in "".join(texts) and not texts[-1].endswith("\n")


fields = st.dictionaries(
    st.text(max_size=4), st.text(max_size=4) | st.integers() | st.booleans() | st.none(), min_size=7
)


@MANY
@given(found=fields, num_degrees=num_degrees, seed=seeds, indent=st.sampled_from([None, 2]))
def test_values_become_null_a_portion_a_degree(found, num_degrees, seed, indent):
    said = {"rows": [found, {"note": 'a "b": c'}], "total": 1.5}
    num_values = sum(value is not None for value in found.values()) + 2
    num_key = max(num_degrees - 1, num_values // 2)
    if num_values < num_degrees - 1:
        return
    text = f"The object:\n{json.dumps(said, indent=indent)}\nThat is all."
    before = said
    for degree, version in enumerate(degrade(VALUES, text, spread(num_degrees, seed))):
        left, why = parse_json_object(version)
        assert left is not None, why
        num_null = count_nulls(said) + num_key * degree // (num_degrees - 1)
        assert count_nulls(left) == num_null
        assert holds_no_more(left, before)
        before = left


def count_nulls(value: Any) -> int:
    if isinstance(value, dict | list):
        inside = value.values() if isinstance(value, dict) else value
        return sum(count_nulls(part) for part in inside)
    return value is None


def holds_no_more(part: Any, whole: Any) -> bool:
    """The same object but for values that are null."""
    if isinstance(part, dict):
        return part.keys() == whole.keys() and all(holds_no_more(part[k], whole[k]) for k in part)
    if isinstance(part, list):
        return all(holds_no_more(a, b) for a, b in zip(part, whole, strict=True))
    return part is None or part == whole


@pytest.mark.parametrize(
    "table",
    [
        "| item | price |\n|:---|---|\n| tea | 4 |\n| milk | 3 |",
        "```html\n<table><tr><th>item</th><th>price</th></tr>\n"
        '<tr><td class="a b c">tea</td><td> 4 </td></tr></table>\n```',
    ],
)
def test_a_table_keeps_its_shape(table):
    labels = []
    for version in degrade(CELLS, table, spread()):
        parsed, why = parse_table(version, str.strip)
        assert parsed is not None, why
        labels.append(parsed.labels)
    assert len(set(labels)) == 1


# What has no versions


@pytest.mark.parametrize(
    ("degrader", "answer", "why"),
    [
        (BOX, "no idea", "no box is stated"),
        (BOX, "[100, 100, 101, 101]", "a box too small for its format to move it so"),
        (BOXES, "[]", "no box is stated"),
        (BOXES, "[100, 100, 900, 900]\n[100, 100, 101, 101]",
         "a box too small for its format to move it so"),
        (POINT, "over there", "no point is stated"),
        (COUNT, "a few", "no count is stated"),
        (WORDS, "cat", "too short to lose words or characters"),
        (WORDS, "", "too short to lose words or characters"),
        (CELLS, "| a | b |\n|---|---|\n| 1 | |", "too short to lose words or characters"),
        (VALUES, "no object", "no object is stated"),
        (VALUES, '{"shop": "Rose", "total": 12.5}', "too few values in the object"),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_made_worse_says_why(degrader, answer, why):
    num_degrees = 7 if "too small" in why else 4  # one step off, a box of 1 x 1 has 1/2
    assert degrader.degrade(answer, READING, spread(num_degrees)) == (None, why)


ANSWERS = {
    "grounding": "[100, 200, 300, 400]", "detection": "[100, 200, 300, 400]\n[0, 0, 500, 500]",
    "pointing": "[500, 500]", "counting": "3", "ocr": "a rose by any name", "vqa": "coca cola",
    "extraction": '{"a": 1, "b": "c", "d": true}', "table": "| a | b |\n|---|---|\n| 1 | 2 |",
}  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_versions_are_drawn_by_the_seed_and_by_nothing_else(task):
    """Every task of the house has some."""
    degrader = TASKS[task].degrader
    assert degrader is not None
    drawn = [degrade(degrader, ANSWERS[task], spread(seed=seed)) for seed in (1, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1]
    assert len({tuple(texts) for texts in drawn}) > 1
