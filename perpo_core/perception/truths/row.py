"""A row of somebody's data as checks of truths see it: raw values, errors that name them."""

from __future__ import annotations

import json
import math
from typing import Any

Raw = dict[str, Any]
"""The JSON object of a line."""
Size = tuple[int, int]
"""Width and height of the upright image in pixels."""
MAX_SHOWN_CHARACTERS = 60


class RowError(ValueError):
    """A row that cannot become a sample: one sentence, and the reason it is counted under."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class MissingKey(RowError):
    """A key that has to be there; whoever knows all keys of the row may say what was meant."""

    def __init__(self, reason: str, sentence: str, key: str) -> None:
        super().__init__(reason, sentence)
        self.key = key


def get_text(raw: Raw, key: str, where: str, reason: str) -> str:
    """A text that UTF-8 can hold, as it is. Raises RowError."""
    value = raw.get(key)
    if value is None:
        raise MissingKey(reason, f"{where}: {key} is missing; give a text", key)
    if not isinstance(value, str):
        raise RowError(reason, f"{where}: {key} {show_value(value)} is not a text")
    return check_unicode(value, key, where)


def check_unicode(text: str, key: str, where: str) -> str:
    """JSON can spell half a surrogate pair, which no UTF-8 file can hold."""
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise RowError(
            "malformed row", f"{where}: {key} {show_value(text)} contains half a surrogate pair"
        )
    return text


def is_finite_number(value: object) -> bool:
    """Whether a value is a number that could be a coordinate."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e12 and math.isfinite(value)  # 1e12: beyond any image, within a float


def show_value(value: object) -> str:
    """A value for an error sentence: JSON, one line, ASCII, not too long."""
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):  # of a pickle: it holds itself, odd keys
        text = ascii(value)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "..."
