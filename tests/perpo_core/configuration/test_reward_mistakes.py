"""Every reward given an option it cannot have, and a truth it can make nothing of: one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from perpo_core.configuration.load import ConfigError, load_config
from perpo_core.configuration.rewards import list_fitting
from perpo_core.perception.boxes import Frame
from perpo_core.perception.rewards import REWARDS, Reading, Target
from perpo_core.perception.rewards.outside import JUDGE
from perpo_core.perception.tasks import TASKS
from tests.perpo_core.sentences import check_sentence

# (reward, option, value as TOML, what is allowed)
BAD_OPTIONS: list[tuple[str, str, str, str]] = [
    ("iou_power", "power", "0", "a number > 0"),
    ("iou_power", "power", "nan", "a finite number"),
    ("iou_threshold", "threshold", "1.5", "a number > 0 and <= 1"),
    ("iou_threshold", "threshold", '"half"', "a number > 0"),
    ("bleu", "tokenize", '"words"', '"13a" or "intl"'),
    ("bleu", "lowercase", '"maybe"', "true or false"),
    ("chrf", "char_order", "0", "a whole number >= 1"),
    ("chrf", "word_order", "1.5", "a whole number >= 0"),
    ("number_within_tolerance", "absolute", "-1", "a whole number >= 0"),
    ("number_within_tolerance", "relative", "inf", "a finite number"),
    ("detection_f1", "threshold", "0", "a number > 0"),
    ("vqa_accuracy", "votes_from", "3", "a whole number >= 4"),
    ("anls", "threshold", "-0.1", "a number >= 0"),
    ("relaxed_number", "tolerance", "2", "a number >= 0 and <= 1"),
    ("json_f1", "lists", '"sorted"', '"any_order" or "in_order"'),
    ("json_f1", "strict_types", "3", "true or false"),
    ("teds", "sections", '"header"', '"compared" or "ignored"'),
    ("teds_structure", "sections", "1", '"compared" or "ignored"'),
    ("format", "pattern", '""', "a text with 1 or more characters"),
    ("format", "pattern", '"(a"', "it is no regular expression: missing )"),
    ("length_penalty", "free", "-1", "a whole number >= 0"),
    ("length_penalty", "full", "0", "a whole number >= 1"),
]
WITHOUT_OPTIONS = [reward.name for reward in REWARDS.values() if reward.options is None]


def find_task(reward: str) -> str:
    return next(task for task in TASKS if reward in list_fitting(task))


def refuse(folder: Path, text: str) -> str:
    """The only problem of a configuration."""
    file = folder / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    [problem] = caught.value.problems
    return problem


@pytest.mark.parametrize(("reward", "option", "value", "allowed"), BAD_OPTIONS)
def test_an_option_that_cannot_be(reward, option, value, allowed, tmp_path: Path) -> None:
    task = find_task(reward)
    table = f"[score.{task}]\nreward = '{reward}'\noptions.{reward}.{option} = {value}\n"
    key = f"score.{task}.options.{reward}.{option}"
    said = refuse(tmp_path, table)
    shown = {"nan": "NaN", "inf": "Infinity"}.get(value, value.strip('"'))
    check_sentence(said, str(tmp_path / "run.toml"), f"{key} = ", shown, allowed)


@pytest.mark.parametrize("reward", WITHOUT_OPTIONS)
def test_options_of_a_reward_that_has_none(reward: str, tmp_path: Path) -> None:
    task = find_task(reward)
    table = f"[score.{task}]\nreward = '{reward}'\noptions.{reward}.threshold = 1\n"
    said = refuse(tmp_path, table)
    key = f"score.{task}.options.{reward}"
    check_sentence(said, str(tmp_path / "run.toml"), f"{key}: {reward} has no options; remove it")


@pytest.mark.parametrize("reward", [name for name in REWARDS if REWARDS[name].options])
def test_an_option_that_nobody_has(reward: str, tmp_path: Path) -> None:
    task = find_task(reward)
    table = f"[score.{task}]\nreward = '{reward}'\noptions.{reward}.nonsense = 1\n"
    key = f"score.{task}.options.{reward}.nonsense"
    check_sentence(refuse(tmp_path, table), str(tmp_path / "run.toml"), f"unknown key {key}")


def test_the_two_ends_of_a_length_are_in_order(tmp_path: Path) -> None:
    options = "options.length_penalty = { free = 20, full = 10 }"
    said = refuse(tmp_path, f"[score.ocr]\nreward = 'length_penalty'\n{options}\n")
    check_sentence(said, "run.toml", "score.ocr.options.length_penalty: ", "20", "10")


def test_every_reward_is_among_them() -> None:
    assert {reward for reward, *_ in BAD_OPTIONS}.isdisjoint(WITHOUT_OPTIONS)
    assert {reward for reward, *_ in BAD_OPTIONS} | {*WITHOUT_OPTIONS} == {*REWARDS}
    assert JUDGE.name not in REWARDS  # and what is one's own: test_outside.py


READING = Reading(Frame(40, 30), "norm1")


@pytest.mark.parametrize(
    ("reward", "truth", "said"),
    [
        ("choice_letter", "a dog", 'the truth "a dog" is no letter of a choice'),
        ("choice_letter", "", 'the truth "" is no letter of a choice'),
        ("json_f1", "[1, 2]", 'the truth "[1, 2]" is no JSON object'),
        ("json_f1", '{"a": 1', 'the truth "{\\"a\\": 1" is no JSON object'),
        ("teds", "item price", 'the truth "item price": no table'),
        ("teds_structure", "", 'the truth "": no table'),
    ],
)
def test_a_truth_that_a_reward_can_make_nothing_of(reward: str, truth: str, said: str) -> None:
    target: Target = {"box": None, "text": truth, "count": None}
    given: Any = REWARDS[reward].build_options()
    result = REWARDS[reward].compute_best("B", target, READING, given)
    assert result.reward is None and result.error is not None
    check_sentence(result.error, said)
    assert json.dumps(truth) in result.error
