"""Rewards: hand-worked values, a slow reference, invariances, reasons for the unreadable."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.perception.boxes import Frame
from perpo_core.perception.rewards import REWARDS, Reading, RewardResult, Target
from perpo_core.perception.rewards.counts import parse_count
from perpo_core.perception.rewards.edit_similarity import normalize_text

READING = Reading(Frame(100, 100), "norm1")
LITERAL = Reading(Frame(100, 100), "norm1", collapse_whitespace=False)


def aim(
    box: list[float] | None = None, text: str | None = None, count: int | None = None
) -> Target:
    return {"box": box, "text": text, "count": count}


def compute_similarity(answer: str, truth: str, reading: Reading = READING) -> float:
    reward = REWARDS["edit_similarity"].compute(answer, aim(text=truth), reading).reward
    assert reward is not None
    return reward


def compute_edit_distance_slowly(a: str, b: str) -> int:
    """The textbook recurrence (Wagner and Fischer 1974)."""
    previous = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        current = [i]
        for j, y in enumerate(b, 1):
            current.append(min(previous[j] + 1, current[-1] + 1, previous[j - 1] + (x != y)))
        previous = current
    return previous[-1]


def test_iou_reward_keeps_the_box_it_saw() -> None:
    truth = aim(box=[0.0, 0.0, 0.5, 0.5])
    result = REWARDS["iou"].compute("[0.25, 0.00, 0.75, 0.50]", truth, READING)
    assert result.reward == pytest.approx(1 / 3)
    assert result.parsed == [0.25, 0.0, 0.75, 0.5]


def test_iou_reward_of_no_box_is_an_error() -> None:
    result = REWARDS["iou"].compute("I see no digit.", aim(box=[0.0, 0.0, 0.5, 0.5]), READING)
    assert result == RewardResult(None, error="no four numbers in the answer")


@pytest.mark.parametrize(
    ("answer", "truth", "expected"),
    [
        ("kitten", "sitting", 1 - 3 / 7),
        ("", "abc", 0.0),
        ("", "", 1.0),
        ("abc", "", 0.0),
        ("12\n34", "12 34", 1.0),
        (" 12  34 \n", "12 34", 1.0),
        ("e\u0301", "\u00e9", 1.0),  # e and accent apart, and in one
    ],
)
def test_edit_similarity_by_hand(answer: str, truth: str, expected: float) -> None:
    assert compute_similarity(answer, truth) == pytest.approx(expected)


def test_white_space_counts_if_asked_to() -> None:
    assert compute_similarity("12\n34", "12 34", LITERAL) == pytest.approx(1 - 1 / 5)


@given(st.text(max_size=12), st.text(max_size=12))
def test_edit_similarity_against_the_textbook(a: str, b: str) -> None:
    a, b = (normalize_text(text, False) for text in (a, b))
    longest = max(len(a), len(b))
    expected = 1 - compute_edit_distance_slowly(a, b) / longest if longest else 1.0
    assert compute_similarity(a, b, LITERAL) == pytest.approx(expected)


@given(st.text(max_size=12), st.text(max_size=12))
def test_edit_similarity_is_symmetric(a: str, b: str) -> None:
    assert compute_similarity(a, b) == compute_similarity(b, a)
    assert 0 <= compute_similarity(a, b) <= 1


@pytest.mark.parametrize(
    ("answer", "truth", "accuracy", "exact"),
    [
        ("3", 4, 0.75, 0.0),
        ("There are 4.", 4, 1.0, 1.0),
        ("8", 4, 0.0, 0.0),
        ("100", 4, 0.0, 0.0),
        ("0", 0, 1.0, 1.0),
        ("1", 0, 0.0, 0.0),
        ("+4", 4, 1.0, 1.0),
        ("There are 4 6s.", 4, 1.0, 1.0),  # "6s" is a word, not a count
    ],
)
def test_counts_by_hand(answer: str, truth: int, accuracy: float, exact: float) -> None:
    assert REWARDS["count_accuracy"].compute(answer, aim(count=truth), READING).reward == accuracy
    assert REWARDS["exact_match"].compute(answer, aim(count=truth), READING).reward == exact


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "no number in the answer"),
        ("many", "no number in the answer"),
        ("There are Three.", "'Three' is not in digits"),
        ("3 or 4", "2 numbers"),
        ("1-3", "2 numbers"),
        ("3.5", "'3.5' is not a whole number"),
        ("1,234", "'1,234' is not a whole number"),
        ("50%", "'50%' is not a whole number"),
        ("-2", "'-2' is not a whole number"),
        ("9" * 5000, "a number of 5000 digits"),
        ("3.5x", "no number"),
    ],
)
def test_answers_that_state_no_count(answer: str, reason: str) -> None:
    count, error = parse_count(answer)
    assert count is None and error is not None and reason in error
    result = REWARDS["count_accuracy"].compute(answer, aim(count=3), READING)
    assert result.reward is None and result.error == error


@pytest.mark.parametrize("name", REWARDS)
@given(text=st.text(max_size=40))
@settings(deadline=None)  # the first answer imports what it is judged with
def test_no_text_breaks_a_reward(name: str, text: str) -> None:
    target: Target = {**aim([0.0, 0.0, 0.5, 0.5], "abc", 3), "boxes": [[0.0, 0.0, 0.5, 0.5]]}
    reward = REWARDS[name]
    result = reward.compute_best(text, target, READING, reward.build_options())
    assert result.reward is None or reward.low <= result.reward <= reward.high
    assert (result.reward is None) == (result.error is not None)
