"""What is read of an answer and what never is, for boxes, counts and texts."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, get_args

import pytest
import regex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpo_core.perception.boxes import BOX_FORMATS, Frame, parse_box
from perpo_core.perception.rewards import REWARDS, Reading, Target
from perpo_core.perception.rewards.counts import parse_count
from perpo_core.perception.rewards.edit_similarity import normalize_text
from schemas.config import CountReading
from tests.perpo_core.perception import answers

FRAME = Frame(320, 240, 336, 252)
BOX = [0.125, 0.25, 0.375, 0.625]
ANYTHING: Target = {"box": BOX, "text": "a\nb", "count": 3, "boxes": [BOX]}
READINGS: tuple[CountReading, ...] = get_args(CountReading)
EVERY_CHARACTER = "".join(map(chr, range(sys.maxunicode + 1)))
LISTS = ["norm1", "norm1_padded", "norm999", "norm999_padded", "norm1000", "pixels"]
"""Formats that write [x1, y1, x2, y2]."""


def flatten(table: dict[Any, list[str]]) -> list[tuple[Any, str]]:
    return [(key, text) for key, texts in table.items() for text in texts]


# Boxes


@pytest.mark.parametrize("text", answers.BOXES)
def test_ways_to_write_a_box(text: str) -> None:
    box, error = parse_box(text, "pixels", FRAME)
    assert error is None and box is not None
    x1, y1, x2, y2 = box
    assert (320 * x1, 240 * y1, 320 * x2, 240 * y2) == pytest.approx(answers.TRUE_BOX)


@pytest.mark.parametrize(("reason", "text"), flatten(answers.NO_BOXES))
def test_answers_in_which_no_box_is_read(reason: str, text: str) -> None:
    box, error = parse_box(text, "pixels", FRAME)
    assert box is None and error is not None and reason in error and len(error) < 200


def write(wrap: str, numbers: list[str]) -> str:
    if wrap == "names":
        pairs = zip(("x1", "y1", "x2", "y2"), numbers, strict=True)
        return "{" + ", ".join(f'"{name}": {number}' for name, number in pairs) + "}"
    if wrap == "corners":
        return "[[{}, {}], [{}, {}]]".format(*numbers)
    return "[" + ", ".join(numbers) + "]"


@pytest.mark.parametrize("box_format", LISTS)
@pytest.mark.parametrize("wrap", ["list", "corners", "names"])
def test_every_wrapping_is_read_in_every_format_of_lists(wrap: str, box_format: str) -> None:
    box = (0.25, 0.25, 0.5, 0.75)
    numbers = BOX_FORMATS[box_format].write(box, FRAME).strip("[]").split(", ")
    found, error = parse_box(write(wrap, numbers), box_format, FRAME)
    assert error is None and found == pytest.approx(box, abs=0.01)


@given(
    numbers=st.lists(st.integers(0, 300).map(str), min_size=4, max_size=6),
    place=st.integers(0, 5),
    spoilt=st.sampled_from(answers.NOT_PLAIN),
    wrap=st.sampled_from(["list", "corners", "names"]),
)
def test_no_box_comes_out_of_what_surrounds_a_number_that_is_not_plain(
    numbers: list[str], place: int, spoilt: str, wrap: str
) -> None:
    """Nor do its own digits complete one: [20e-2, 30, 40, 50] is not 2, 30, 40, 50."""
    numbers = numbers if wrap == "list" else numbers[:4]
    place %= len(numbers)
    if spoilt == "" and place in (0, len(numbers) - 1):
        return  # a comma before the first number or after the last leaves nothing out
    if spoilt == "10 px" and place == len(numbers) - 1:
        return  # a unit after the last number is the sentence's
    if wrap == "names" and " " in spoilt:
        return  # the same
    numbers[place] = spoilt
    box, error = parse_box(write(wrap, numbers), "pixels", FRAME)
    assert box is None and error is not None


# Counts


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(("count", "text"), flatten(answers.COUNTS))
def test_answers_that_state_a_count(count: int, text: str, reading: CountReading) -> None:
    assert parse_count(text, reading) == (count, None)


@pytest.mark.parametrize(("count", "text"), flatten(answers.COUNTS_IN_WORDS))
def test_words_and_whole_decimals_are_read_if_asked_for(count: int, text: str) -> None:
    assert parse_count(text, "words") == (count, None)
    refused, error = parse_count(text)
    assert refused is None
    assert error is not None and ("not in digits" in error or "not a whole number" in error)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(("reason", "text"), flatten(answers.NO_COUNTS))
def test_answers_that_state_no_count(reason: str, text: str, reading: CountReading) -> None:
    count, error = parse_count(text, reading)
    assert count is None and error is not None and reason in error and len(error) < 200


def test_a_digit_of_any_script_counts_as_what_it_is() -> None:
    """Unicode gives each script its ten in a row; `regex` may know more scripts than Python."""
    digits = regex.findall(r"\p{Nd}", EVERY_CHARACTER)
    rows = [digits[start : start + 10] for start in range(0, len(digits), 10)]
    assert len(rows) > 70 and all(ord(row[9]) - ord(row[0]) == 9 for row in rows)
    for row in rows:
        assert [parse_count(digit) for digit in row] == [(value, None) for value in range(10)]


@pytest.mark.parametrize(("reason", "text"), flatten(answers.NO_COUNTS_IN_WORDS))
def test_words_that_are_no_count(reason: str, text: str) -> None:
    count, error = parse_count(text, "words")
    assert count is None and error is not None and reason in error


@pytest.mark.parametrize("reward", ["count_accuracy", "exact_match"])
def test_the_rewards_read_counts_as_they_are_told(reward: str) -> None:
    in_words = Reading(FRAME, "norm1", count_reading="words")
    assert REWARDS[reward].compute("three", ANYTHING, in_words).reward == 1.0
    assert REWARDS[reward].compute("three", ANYTHING, Reading(FRAME, "norm1")).reward is None


# Texts


@pytest.mark.parametrize(("answer", "truth", "collapsed", "literal"), answers.TEXTS)
def test_texts_are_compared_as_a_reader_sees_them(
    answer: str, truth: str, collapsed: float, literal: float
) -> None:
    for text, other in ((answer, truth), (truth, answer)):
        target: Target = {"box": None, "text": other, "count": None}
        for is_collapsed, expected in ((True, collapsed), (False, literal)):
            reading = Reading(FRAME, "norm1", is_collapsed)
            result = REWARDS["edit_similarity"].compute(text, target, reading)
            assert result.reward == pytest.approx(expected) and result.error is None


@given(st.text(), st.booleans())
def test_a_text_that_is_normalized_stays_as_it_is(text: str, collapse: bool) -> None:
    once = normalize_text(text, collapse)
    assert normalize_text(once, collapse) == once
    assert once == once.strip("\r\n")


# Anything


def check(text: str) -> None:
    """Every reward of any text: a number or a reason, at once, fit for a Parquet file."""
    started = time.process_time()
    for box_format in BOX_FORMATS:
        box, error = parse_box(text, box_format, FRAME)
        assert (box is None) == (error is not None)
        assert box is None or (0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1)
    for name, reward in REWARDS.items():
        for reading in READINGS:
            way = Reading(FRAME, "pixels", name == "iou", reading)
            result = reward.compute_best(text, ANYTHING, way, reward.build_options())
            json.dumps([result.parsed, result.error], ensure_ascii=False).encode()
            assert result.error is None or len(result.error) < 200
    assert time.process_time() - started < 10


# `check` bounds its own CPU time; a deadline counts what others take of a shared machine as well.
@settings(deadline=None)
@given(answers.mutated_answers())
def test_no_mutated_answer_breaks_a_reader(text: str) -> None:
    check(text)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(answers.mutated_answers())
def test_no_mutated_answer_of_many_breaks_a_reader(text: str) -> None:
    check(text)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_character_breaks_a_reader() -> None:
    known = regex.findall(r"[^\p{Unassigned}\p{Private_Use}]", EVERY_CHARACTER)
    for start in range(0, len(known), 16):
        few = known[start : start + 16]
        check(" ".join(f"{c} 1{c}2 [{c}, 0.{c}, 3{c}, 4]" for c in few))


LONG = [
    "9", "1,", "[1,", "(1,2),", "{", '{"x1":1', "1e-", " ", "1 ", "\u53ea1", "1\u200b", "twenty-",
    "1 hundred ", "1,000", "left: ", "<think>", "</think>", "<answer>1", "<|", "<a", "\u25c1",
    "<bin_1>", "<box>", "<box>1 ", '<point x="', "<points '", "<point x=1 y=", "1e1", "1e1,",
]  # fmt: skip


@pytest.mark.parametrize("piece", LONG)
def test_long_answers_take_time_in_proportion(piece: str) -> None:
    """100,000 characters of what a pattern could try in many ways: a second or so, not hours."""
    text = (piece * 100_000)[:100_000]
    started = time.process_time()
    for box_format in ("pixels", "norm1_cxcywh", "loc1000", "patch32", "points_percent"):
        parse_box(text, box_format, FRAME)
    parse_count(text, "words")
    normalize_text(text, False)
    assert time.process_time() - started < 20
