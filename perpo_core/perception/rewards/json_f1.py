"""Extraction: F1 of the fields of a JSON object.

A field is a value that holds no others, at its path of keys: 2 * right / (stated + true). As
Donut's field-level F1 (arXiv 2111.15664, JSONParseEvaluator), with two differences: entries of a
list are matched one to one, so that a price counts only in the entry that has its name as well, and
values are compared by their type:

- numbers by value: 12 and 12.0, and unless `strict_types` also a text that is one: "1,234.50";
- texts as OCR compares them, invisible characters and runs of white space left out;
- true and false as they are. null, {} and [] state nothing, so that a key with one of them is as
  good as a key that is not there.

Lists are sets of entries, matched so that most fields are right (scipy's assignment), or compared
place by place with `lists = "in_order"`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.json_objects import parse_json_object
from perpo_core.perception.rewards.base import Reading, Reward, RewardResult, Target
from perpo_core.perception.rewards.edit_similarity import normalize_text
from perpo_core.perception.rewards.relaxed_number import parse_number
from perpo_core.perception.truths.row import show_value
from schemas.base import Section

Leaf = tuple[str, Any]
"""Kind and value."""


class JsonF1Options(Section):
    """Of the reward json_f1."""

    lists: Literal["any_order", "in_order"] = "any_order"
    """Whether entries of a list may stand in another order than the truth's."""
    strict_types: bool = False
    """12 and "12" are two values."""
    ignore_case: bool = False
    """Compare texts without case; keys never."""


def compute_json_f1(
    text: str, target: Target, reading: Reading, options: JsonF1Options
) -> RewardResult:
    """F1 in [0, 1] against the object in target["text"].

    1 where neither states a field, 0 where one of them does. An answer without exactly one JSON
    object is an error.
    """
    truth, _ = parse_json_object(target["text"] or "")
    if truth is None:
        return RewardResult(None, error=f"the truth {show_value(target['text'])} is no JSON object")
    stated, problem = find_answer(text)
    answer, problem = parse_json_object(stated) if stated is not None else (None, problem)
    if answer is None:
        return RewardResult(None, error=problem)
    return RewardResult(compute_f1(answer, truth, options), parsed=answer)


def compute_f1(answer: Any, truth: Any, options: JsonF1Options) -> float:
    """2 * right / (stated + true) fields."""
    a, b = (_read(value, options) for value in (answer, truth))
    total = _count(a) + _count(b)
    return 2 * _count_right(a, b, options.lists == "in_order") / total if total else 1.0


def _read(value: Any, options: JsonF1Options) -> Any:
    """The value with leaves as they are compared; what states nothing is None."""
    if isinstance(value, dict):
        fields = {key: _read(inside, options) for key, inside in value.items()}
        return {key: field for key, field in fields.items() if field is not None} or None
    if isinstance(value, list):
        entries = [_read(inside, options) for inside in value]
        return entries if any(entry is not None for entry in entries) else None
    return None if value is None else _read_leaf(value, options)


def _read_leaf(value: Any, options: JsonF1Options) -> Leaf:
    if isinstance(value, bool):
        return "truth", value
    if isinstance(value, int | float):
        return "number", value
    text = normalize_text(value, collapse_whitespace=True)
    number = None if options.strict_types else parse_number(text)
    if number is not None and not text.endswith("%"):
        return "number", number
    return "text", text.lower() if options.ignore_case else text


def _count(value: Any) -> int:
    if isinstance(value, dict | list):
        return sum(map(_count, value.values() if isinstance(value, dict) else value))
    return int(value is not None)


def _count_right(a: Any, b: Any, is_ordered: bool) -> int:
    if isinstance(a, dict) and isinstance(b, dict):
        return sum(_count_right(a[key], b[key], is_ordered) for key in a.keys() & b.keys())
    if isinstance(a, list) and isinstance(b, list):
        count: Callable[[list[Any], list[Any]], int] = _count_pairs if is_ordered else _count_best
        return count(a, b)
    return int(isinstance(a, tuple) and a == b)


def _count_pairs(a: list[Any], b: list[Any]) -> int:
    return sum(_count_right(x, y, True) for x, y in zip(a, b, strict=False))


def _count_best(a: list[Any], b: list[Any]) -> int:
    """Right fields under the best one-to-one assignment of entries."""
    a, b = ([entry for entry in entries if entry is not None] for entries in (a, b))
    if all(isinstance(entry, tuple) for entry in (*a, *b)):
        return (Counter(a) & Counter(b)).total()
    from scipy.optimize import linear_sum_assignment  # slow to import

    right = [[_count_right(x, y, False) for y in b] for x in a]
    rows, columns = linear_sum_assignment(right, maximize=True)
    return sum(right[row][column] for row, column in zip(rows, columns, strict=True))


JSON_F1 = Reward("json_f1", compute_json_f1, options=JsonF1Options)
