"""The true short answer of a row, or one of those that are accepted."""

from __future__ import annotations

from perpo_core.perception.truths.row import (
    MissingKey,
    Raw,
    RowError,
    Size,
    check_unicode,
    is_finite_number,
    show_value,
)
from perpo_core.perception.visible import has_visible

KEYS = ("answers", "answer")  # in this order, and never both


def parse_answer(raw: Raw, where: str, size: Size) -> str:
    """The text of `answer`, or of one of `answers`; a number as it is written. Raises RowError."""
    del size
    given = [key for key in KEYS if raw.get(key) is not None]
    if not given:
        said = f"{where}: answers is missing; give a list of all that are accepted, or answer"
        raise MissingKey("missing answer", said, "answers")
    if len(given) > 1:
        said = f"{where}: answers and answer are two truths of one row; keep answers, with all"
        raise RowError("two truths", said)
    key, value = given[0], raw[given[0]]
    answer = show_value(value) if is_finite_number(value) else value
    if not isinstance(answer, str):
        what = "is empty" if answer == [] else "is not a text"
        raise RowError("bad answer", f"{where}: {key} {show_value(value)} {what}; give a text")
    if not has_visible(answer):
        said = f"{where}: {key} {show_value(value)} has no visible character; give a text"
        raise RowError("invisible answer", said)
    return check_unicode(answer, key, where)
