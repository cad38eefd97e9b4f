"""Reading the JSON object of an answer, and every reason why there is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpo_core.perception.json_objects import parse_json_object


@pytest.mark.parametrize(
    "text",
    ['{"a": {"b": [1]}}', '```json\n{"a": {"b": [1]}}\n```', 'Here: {"a": {"b": [1]}}. Done.',
     '\n\ufeff{"a":{"b":[1]}}', '{"a": {"b": [1]}} {not json}'],
)  # fmt: skip
def test_ways_to_write_one(text: str) -> None:
    assert parse_json_object(text) == ({"a": {"b": [1]}}, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the answer is blank"), ("none", "no JSON object"), ("[1, 2]", "no JSON object"),
        ('{"a": 1', "no whole JSON object in the answer: Expecting ',' delimiter at character 7"),
        ('{"a": 1, "items": [{"b": 2}', "no whole JSON object"),  # the inner one is not the answer
        ("{'a': 1}", "no whole JSON object"), ('{"a": 1} {"a": 2}', "several JSON objects"),
        ('{"a": 1, "a": 2}', "key 'a' stands in it twice"), ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": 1e999}', "1e999 is too large a number"),
        ('{"a": ' + "9" * 5000 + "}", "no JSON object"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "more than 100 levels"),
        ('{"a":' * 100_000, "more than 100 levels"),
    ],
)  # fmt: skip
def test_answers_without_one(text: str, reason: str) -> None:
    found, error = parse_json_object(text)
    assert found is None and error is not None and reason in error


@given(st.text(alphabet='{}[]":,a1 \n`', max_size=40))
def test_no_text_breaks_it(text: str) -> None:
    found, error = parse_json_object(text)
    assert (found is None) == (error is not None)
