"""Rewards that read the answer alone, and counts that may be a little off."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.configuration.load import ConfigError, load_config
from perpo_core.perception.boxes import Frame
from perpo_core.perception.judging import Item, Judge
from perpo_core.perception.rewards import GENERAL, REWARDS, Reading, RewardResult, Target
from perpo_core.perception.tasks import TASKS

READING = Reading(Frame(100, 100), "norm1")
TARGET: Target = {"box": None, "text": None, "count": 40}


def judge(name: str, text: str, **options: Any) -> RewardResult:
    reward = REWARDS[name]
    return reward.compute_best(text, TARGET, READING, reward.build_options(options))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<think>a\nb</think>\n<answer>4</answer>", 1.0),
        (" <think></think><answer></answer>\n", 1.0),
        ("<think>a</think> 4", 0.0),
        ("so <think>a</think><answer>4</answer>", 0.0),
        ("<think>a</think><answer>4</answer>!", 0.0),
        ("", 0.0),
    ],
)
def test_thoughts_and_then_an_answer(text: str, value: float) -> None:
    assert judge("format", text).reward == value


def test_any_other_form() -> None:
    pattern = r"\[(\d+), (\d+), (\d+), (\d+)\]"
    assert judge("format", "[1, 2, 3, 4]", pattern=pattern).reward == 1.0
    assert judge("format", "at [1, 2, 3, 4]", pattern=pattern).reward == 0.0
    assert judge("format", "A\n", pattern="(?i)[abcd]").reward == 1.0


def test_a_form_that_takes_too_long_is_an_error_of_that_answer() -> None:
    result = judge("format", "a" * 40 + "b", pattern="(a|aa)+c|(a|a?)+$")
    assert result == RewardResult(None, error="the pattern took more than 1 s")


@pytest.mark.parametrize(
    ("length", "value"), [(0, 0.0), (10, 0.0), (11, -0.1), (15, -0.5), (20, -1.0), (5000, -1.0)]
)
def test_length_costs_by_its_characters(length: int, value: float) -> None:
    found = judge("length_penalty", "x" * length, free=10, full=20).reward
    assert found == pytest.approx(value) and str(found) != "-0.0"


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_a_longer_answer_never_costs_less(a: int, b: int) -> None:
    short, long = sorted((a, b))
    penalties = [judge("length_penalty", "y" * n).reward for n in (short, long)]
    assert 0 >= (penalties[0] or 0) >= (penalties[1] or 0) >= -1


@pytest.mark.parametrize(
    ("text", "options", "value"),
    [
        ("40", {}, 1.0),
        ("42", {}, 1.0),  # 5% of 40
        ("43", {}, 0.0),
        ("41", {"relative": 0.0}, 1.0),
        ("42", {"relative": 0.0}, 0.0),
        ("39", {"relative": 0.0, "absolute": 0}, 0.0),
        ("20", {"relative": 0.5, "absolute": 0}, 1.0),
        ("some", {}, None),
    ],
)
def test_counts_that_are_near_enough(
    text: str, options: dict[str, Any], value: float | None
) -> None:
    assert judge("number_within_tolerance", text, **options).reward == value


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", GENERAL)
def test_they_fit_every_task(task: str, name: str) -> None:
    load_config(None, [f"score.{task}.reward.{TASKS[task].default_reward}=1",
                       f"score.{task}.reward.{name}=0.5"])  # fmt: skip


def test_a_box_and_its_form_and_a_penalty_beside_it() -> None:
    table = (
        "{reward={iou=1.0, format=0.1, length_penalty=0.5}, options={format={pattern='.*[]]'}, "
        "length_penalty={free=0, full=100}}}"
    )
    config = load_config(None, [f"score.grounding={table}"])
    target: Target = {"box": [0.0, 0.0, 0.5, 0.5], "text": None, "count": None}
    text = "[0, 0, 0.5, 0.25]"  # 17 characters
    judge = Judge(config.score, "norm1")
    judgement = judge.judge(Item(text, "grounding", target, READING.frame))
    assert judgement.rewards == {
        "iou": 0.5, "format": 1.0, "length_penalty": pytest.approx(-0.17),
    }  # fmt: skip
    assert judgement.reward == pytest.approx(0.5 + 0.1 - 0.085)
    nonsense = judge.judge(Item("nowhere", "grounding", target, READING.frame))
    assert nonsense.reward is None and nonsense.value == -0.5
    assert nonsense.error == "iou: no four numbers in the answer"
    assert nonsense.rewards["iou"] == 0.0 and nonsense.rewards["format"] == 0.0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("{format={pattern='('}}", 'options.format.pattern = "(" is not allowed; it is no regular '
         "expression: missing ) at position 1"),
        ("{format={patern='a'}}", "unknown key score.ocr.options.format.patern; did you mean "
         "score.ocr.options.format.pattern?"),
        ("{format={pattern=''}}", "is not allowed; allowed: a text with 1 or more characters"),
        ("{length_penalty={free=10, full=5}}", "score.ocr.options.length_penalty: full (5) has to "
         "be more than free (10); raise it"),
        ("{length_penalty={free=-1}}", "score.ocr.options.length_penalty.free = -1 is not allowed; "
         "allowed: a whole number >= 0 and <= 1000000"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused_in_a_sentence(options: str, sentence: str) -> None:
    rewards = "{edit_similarity=1, format=1, length_penalty=1}"
    with pytest.raises(ConfigError) as refused:
        load_config(None, [f"score.ocr={{reward={rewards}, options={options}}}"])
    assert sentence in str(refused.value)
