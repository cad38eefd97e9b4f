"""Reading the one JSON object of a text: alone, in a code fence, or with words around it."""

from __future__ import annotations

import json
import math
from typing import Any

from perpo_core.perception.visible import has_visible

MAX_SHOWN = 40  # characters of a key, in a reason
MAX_LEVELS = 100  # of lists and objects in each other: what walks over them calls itself

TOO_DEEP = f"a JSON object of more than {MAX_LEVELS} levels in the answer"


class _Unreadable(ValueError):
    """One sentence."""


def parse_json_object(text: str) -> tuple[dict[str, Any] | None, str | None]:
    """The object: (object, None), or (None, why there is none).

    It begins at the first brace. Words before and after it, a code fence included, are left alone;
    a second object is not. What is no JSON is refused: a doubled key, NaN, an object that was cut
    off; so is a number beyond a float.
    """
    start = text.find("{")
    if start < 0:
        return None, "no JSON object in the answer" if has_visible(text) else "the answer is blank"
    try:
        found, end = _decode(text, start)
    except RecursionError:
        return None, TOO_DEEP
    except json.JSONDecodeError as error:
        return None, f"no whole JSON object in the answer: {error.msg} at character {error.pos}"
    except ValueError as error:  # also of a number with thousands of digits
        return None, f"no JSON object in the answer: {error}"
    if _count_levels(found) > MAX_LEVELS:
        return None, TOO_DEEP
    if _has_object(text, end):
        return None, "several JSON objects in the answer where exactly one was expected"
    return found, None


def write_object(found: object) -> str:
    """Canonical JSON: equal objects are equal texts. Raises ValueError for what JSON has not."""
    return json.dumps(found, ensure_ascii=False, sort_keys=True, allow_nan=False)


def _decode(text: str, start: int) -> tuple[dict[str, Any], int]:
    decoder = json.JSONDecoder(
        object_pairs_hook=_build, parse_constant=_refuse, parse_float=_parse_float
    )
    found, end = decoder.raw_decode(text, start)
    return found, end


def _has_object(text: str, start: int) -> bool:
    brace = text.find("{", start)
    if brace < 0:
        return False
    try:
        _decode(text, brace)
    except (ValueError, RecursionError):
        return False
    return True


def _count_levels(value: Any) -> int:
    level, num_levels = [value], 0
    while level := [v for v in level if isinstance(v, dict | list)]:
        num_levels += 1
        level = [inside for v in level for inside in (v.values() if isinstance(v, dict) else v)]
    return num_levels


def _build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Unreadable(f"key {twice[:MAX_SHOWN]!a} stands in it twice")
    return found


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _Unreadable(f"{text[:MAX_SHOWN]} is too large a number")
    return number


def _refuse(constant: str) -> Any:
    raise _Unreadable(f"{constant} is no JSON")
