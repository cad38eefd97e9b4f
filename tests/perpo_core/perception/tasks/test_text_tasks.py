"""The tasks vqa, extraction and table: truths of a row, what is refused, what a report shows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perpo_core.perception.rewards import REWARDS
from perpo_core.perception.tasks import TASKS
from perpo_core.perception.truths.row import RowError
from tests.perpo_core.perception.rewards.aim import READING, aim

SIZE = (300, 400)
TABLE = "| a | b |\n|---|---|\n| 1 | 2 |"
OF_TEXTS = ("vqa", "extraction", "table")


@pytest.mark.parametrize(
    ("task", "row", "truth"),
    [
        ("vqa", {"answer": "yes"}, "yes"),
        ("vqa", {"answers": "yes"}, "yes"),  # one of a list, which the reader of rows has opened
        ("vqa", {"answer": 12.5}, "12.5"),
        ("vqa", {"answers": 3, "answer": None}, "3"),
        ("extraction", {"answer": {"b": 1, "a": "\u00e9"}}, '{"a": "\u00e9", "b": 1}'),
        ("extraction", {"answer": ' {"b":1,\n"a":2} '}, '{"a": 2, "b": 1}'),
        ("extraction", {"answer": {}}, "{}"),
        ("table", {"answer": TABLE}, TABLE),
        ("table", {"answer": "<table><tr><td>1</table>"}, "<table><tr><td>1</table>"),
    ],
)
def test_truths_of_a_row(task: str, row: dict[str, Any], truth: str) -> None:
    assert TASKS[task].parse_truth(row, "file row 1", SIZE) == truth


@pytest.mark.parametrize(
    ("task", "row", "reason", "words"),
    [
        ("vqa", {}, "missing answer", "answers is missing; give a list"),
        ("vqa", {"answers": []}, "bad answer", "answers [] is empty"),
        ("vqa", {"answer": {"text": "yes"}}, "bad answer", "is not a text; give a text"),
        ("vqa", {"answer": True}, "bad answer", "true is not a text"),
        ("vqa", {"answers": " \u200b"}, "invisible answer", "no visible character"),
        ("vqa", {"answers": "yes", "answer": "no"}, "two truths", "keep answers"),
        ("vqa", {"answer": "a\ud800"}, "malformed row", "surrogate"),
        ("extraction", {}, "missing answer", "answer is missing; give the JSON object"),
        ("extraction", {"answer": "total: 3"}, "bad object", "not a JSON object: no JSON object"),
        ("extraction", {"answer": 3}, "bad object", "answer 3 is not a JSON object"),
        ("extraction", {"answer": '{"a": 1'}, "bad object", "no whole JSON object"),
        ("extraction", {"answer": '{"a": 1, "a": 2}'}, "bad object", "key 'a' stands in it twice"),
        ("extraction", {"answer": 'so: {"a": 1}'}, "bad object", "words around it"),
        ("extraction", {"answer": {"a": float("nan")}}, "bad object", "not a JSON object"),
        ("extraction", {"answer": {"a": "\ud800"}}, "malformed row", "surrogate"),
        ("table", {}, "missing answer", "give the table as HTML or Markdown"),
        ("table", {"answer": ["a", "b"]}, "missing answer", "is not a text"),
        ("table", {"answer": "a, b"}, "bad table", "no tables"),
        ("table", {"answer": f"{TABLE}\n\n{TABLE}\n"}, "bad table", "2 tables"),
        ("table", {"answer": "<table></table>"}, "bad table", "has no cell"),
    ],
)  # fmt: skip
def test_rows_that_are_refused(task: str, row: dict[str, Any], reason: str, words: str) -> None:
    with pytest.raises(RowError) as refused:
        TASKS[task].parse_truth(row, "data.jsonl row 7", SIZE)
    assert refused.value.reason == reason
    assert str(refused.value).startswith("data.jsonl row 7: ") and words in str(refused.value)


@pytest.mark.parametrize(
    ("task", "truth"), [("vqa", "two"), ("extraction", '{"a": [1, "b"]}'), ("table", TABLE)]
)
def test_the_truth_itself_is_worth_1_and_nothing_less(task: str, truth: str) -> None:
    reward = REWARDS[TASKS[task].measure]
    options = reward.build_options()
    assert reward.compute_best(truth, aim(truth), READING, options).reward == 1
    assert not reward.compute_best("", aim(truth), READING, options).reward
    values = {name: m.compute(np.array([1.0, 0.5])) for name, m in TASKS[task].metrics.items()}
    assert all(value[0] == 1 and value[1] in (0, 0.5) for value in values.values())


@pytest.mark.parametrize("task", OF_TEXTS)
def test_every_reward_of_a_task_is_there(task: str) -> None:
    assert set(TASKS[task].rewards) <= REWARDS.keys()
    assert TASKS[task].default_reward == TASKS[task].measure


def test_a_report_tells_each_accepted_answer_once() -> None:
    words = TASKS["vqa"].get_words
    assert words(aim("yes", "no", "yes", "maybe")) == "yes / no / maybe"
    assert words(aim(*"abcdefgh")) == "a / b / c / d / e / 3 more"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ('```json\n{"b": 1,\n "a": 2}\n```', '{"a": 2, "b": 1}'),  # nothing of it differs
        ("<think>?</think>a tea", "a tea"),
        ("<think>?", None),
        ('{"a": 1e999}', '{"a": 1e999}'),
    ],
)
def test_a_report_shows_objects_as_the_truth_is_written(answer: str, words: str | None) -> None:
    assert TASKS["extraction"].read_words(answer, aim('{"a": 2, "b": 1}')) == words


@pytest.mark.parametrize(
    ("task", "short", "long"),
    [
        ("extraction", '{"shop_name": "Rose", "paid": true}', f'{{"text": "{"a" * 900}"}}'),
        ("table", "<table><tr><td>1</td></tr></table>", f"<table><tr><td>{'a' * 900}</table>"),
    ],
)
def test_text_that_becomes_too_small_is_told(task: str, short: str, long: str) -> None:
    small = (200, 250)  # 50,000 pixels, 64 a character
    assert TASKS[task].find_harm(aim(short), (390, 490), small) is None
    assert TASKS[task].find_harm(aim(long), (390, 490), small) == ("text", "text becomes illegible")
    assert TASKS["vqa"].find_harm(aim("yes"), (400, 400), (50, 50)) is not None
