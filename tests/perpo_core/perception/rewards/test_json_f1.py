"""Field-level F1: by hand, against Donut's counting where the two agree, and its invariances."""

from __future__ import annotations

import json
from collections import Counter
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpo_core.perception.rewards.json_f1 import JSON_F1, JsonF1Options, compute_f1
from tests.perpo_core.perception.rewards.aim import compute, get

DEFAULT = JsonF1Options()
RECEIPT = {
    "shop": "Caf\u00e9  Rose",
    "total": 12.5,
    "paid": True,
    "note": None,
    "items": [{"name": "tea", "price": 4}, {"name": "cake", "price": 8.5}],
}  # 7 fields
SWAPPED = [{"name": "tea", "price": 8.5}, {"name": "cake", "price": 4}]
LEAVES = st.one_of(st.integers(0, 3), st.sampled_from(["a", "b", "x y"]), st.booleans())
FLAT = st.dictionaries(st.sampled_from("abcd"), LEAVES, max_size=4)
ANY = st.recursive(
    st.one_of(LEAVES, st.none()),
    lambda inside: st.one_of(
        st.lists(inside, max_size=3), st.dictionaries(st.sampled_from("ab"), inside, max_size=2)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (RECEIPT, 1),
        ({}, 0),
        ({**RECEIPT, "note": "none"}, 2 * 7 / (8 + 7)),  # null states nothing
        ({**RECEIPT, "total": "12.50"}, 1),
        ({**RECEIPT, "total": 12.51}, 6 / 7),
        ({**RECEIPT, "paid": 1}, 6 / 7),  # true is no number
        ({**RECEIPT, "shop": "Cafe\u0301 Rose"}, 1),
        ({**RECEIPT, "shop": "caf\u00e9 rose"}, 6 / 7),
        ({**RECEIPT, "items": RECEIPT["items"][::-1]}, 1),  # type: ignore[index]
        ({**RECEIPT, "items": RECEIPT["items"][:1]}, 2 * 5 / (5 + 7)),  # type: ignore[index]
        ({**RECEIPT, "items": SWAPPED}, 5 / 7),
        ({**RECEIPT, "items": "tea"}, 2 * 3 / (4 + 7)),
        ({"receipt": RECEIPT}, 0),
    ],
)  # fmt: skip
def test_by_hand(answer: Any, expected: float) -> None:
    assert get(JSON_F1, json.dumps(answer), json.dumps(RECEIPT)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("answer", "truth", "options", "expected"),
    [
        ('{"a": "12"}', '{"a": 12}', {}, 1),
        ('{"a": "12"}', '{"a": 12}', {"strict_types": True}, 0),
        ('{"a": "1,200.0"}', '{"a": 1200}', {}, 1),
        ('{"a": "12%"}', '{"a": 0.12}', {}, 0),
        ('{"a": "Tea"}', '{"a": "tea"}', {"ignore_case": True}, 1),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', {}, 1),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', {"lists": "in_order"}, 0),
        ('{"a": [null, 2]}', '{"a": [1, 2]}', {"lists": "in_order"}, 2 / 3),
        ("{}", "{}", {}, 1),
        ('{"a": null}', '{"b": []}', {}, 1),
        ('{"a": 1}', "{}", {}, 0),
    ],
)
def test_options_and_nothing(answer: str, truth: str, options: Any, expected: float) -> None:
    assert get(JSON_F1, answer, truth, **options) == pytest.approx(expected)


@given(FLAT, FLAT)
def test_flat_objects_are_counted_as_donut_counts(a: dict[str, Any], b: dict[str, Any]) -> None:
    """JSONParseEvaluator.cal_f1: tp / (tp + (fn + fp) / 2) over pairs of key and value."""
    answer, truth = (Counter((k, type(v).__name__, v) for k, v in o.items()) for o in (a, b))
    right = (answer & truth).total()
    wrong = (answer - truth).total() + (truth - answer).total()
    expected = right / (right + wrong / 2) if right or wrong else 1
    assert compute_f1(a, b, DEFAULT) == pytest.approx(expected)


@given(st.lists(FLAT, max_size=4), st.lists(FLAT, max_size=4))
@settings(deadline=None)  # the first imports scipy
def test_entries_are_matched_as_well_as_can_be(a: list[Any], b: list[Any]) -> None:
    total = sum(map(len, a)) + sum(map(len, b))
    shorter, longer = sorted((a, b), key=len)
    best = max(
        sum(len(set(_fields(x)) & set(_fields(y))) for x, y in zip(shorter, order, strict=False))
        for order in permutations(longer, len(shorter))
    )
    expected = 2 * best / total if total else 1
    assert compute_f1({"l": a}, {"l": b}, DEFAULT) == pytest.approx(expected)


def _fields(entry: dict[str, Any]) -> list[Any]:
    return [(key, type(value).__name__, value) for key, value in entry.items()]


@given(ANY, ANY)
@settings(deadline=None)
def test_range_and_symmetry(a: Any, b: Any) -> None:
    for options in (DEFAULT, JsonF1Options(lists="in_order")):
        assert compute_f1({"v": a}, {"v": a}, options) == 1
        forth, back = (compute_f1({"v": x}, {"v": y}, options) for x, y in ((a, b), (b, a)))
        assert forth == back and 0 <= forth <= 1


def test_errors() -> None:
    assert compute(JSON_F1, "{}", "no object").error == 'the truth "no object" is no JSON object'
    assert compute(JSON_F1, "a tea", "{}").error == "no JSON object in the answer"
    assert "thoughts" in str(compute(JSON_F1, "<think>{}", "{}").error)
