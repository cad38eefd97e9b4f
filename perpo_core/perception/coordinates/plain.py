"""What is a coordinate: a sign, digits, a decimal point, and an exponent as programs print it.

They print one digit before the point: 1.2e2, 2.5e-01. What else has digits (20e-2, 10%, 1/2, 3-4,
1.2.3, 0x10) is no coordinate and none of its digits is one. It keeps its place, so that no list
becomes one of four by leaving something out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from perpo_core.perception.numerals import GLUE, compile_pattern

Numbers = tuple[float, float, float, float]
"""x1, y1, x2, y2 in some format's own units."""

NOTHING = "no four numbers in the answer"
MAX_SHOWN = 40  # characters of an answer, in a reason
# An exponent has two digits at most: what is larger is no coordinate.
PLAIN: Final = (
    r"[-+]?(?:[0-9](?:\.[0-9]*+)?e[-+]?[0-9]{1,2}+(?![0-9])|[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)"
)
COMMA: Final = r"[,\uff0c\u3001\u060c]"
# A word, or a number with all that touches it. A point before a word ends a sentence, and a hyphen
# after a word is no sign.
RUN: Final = (
    rf"(?:\p{{L}}++-(?=[0-9])(?<!\be-)"
    rf"|(?:{GLUE}|[-+%\u2030^/\u00d7]|\.(?!(?:{GLUE}){{2}})|\.(?=[0-9]))++)"
)

_IS_PLAIN = compile_pattern(PLAIN)
_DIGIT = compile_pattern(r"\p{N}")
_LETTER = compile_pattern(r"\p{L}")
_COMMA = compile_pattern(COMMA)


class Numeral(NamedTuple):
    """A number as it is written ("" where it is no single word) and its value: NaN if not plain."""

    text: str
    value: float


class Found(NamedTuple):
    """What one way of writing four coordinates finds: where, and the numbers or why there are none.

    A position at the text's end says that the problem counts only if nothing else is found.
    """

    position: int
    numbers: Numbers | None
    problem: str | None = None


def has_digits(text: str) -> bool:
    """Whether anything in a text could be a number."""
    return _DIGIT.search(text) is not None


def has_comma(text: str) -> bool:
    """Whether there is a comma of any script in it."""
    return _COMMA.search(text) is not None


def read_numeral(run: str) -> Numeral | None:
    """The number that a run is or would be; None for a word, as also "cup3" is one."""
    text = run.rstrip(".-/")
    if _IS_PLAIN.fullmatch(text):
        return Numeral(text, float(text))
    if not has_digits(run) or _LETTER.match(run):
        return None
    return Numeral(text, math.nan)


def take_first(findings: Iterable[Found], end: int) -> Found | None:
    """The first that counts whatever else is found; else the first of all. `end`: the text's."""
    spoilt = None
    for found in findings:
        if found.position < end:
            return found
        spoilt = spoilt or found
    return spoilt


def judge(row: Sequence[Numeral], position: int, end: int) -> Found | None:
    """Four or more numbers as a finding; None for fewer, and where none of them is plain.

    A row that is spoilt is passed over: it says why there are no numbers if nothing else is found.
    """
    if len(row) < 4 or all(math.isnan(numeral.value) for numeral in row):
        return None
    spoilt = next((numeral for numeral in row if math.isnan(numeral.value)), None)
    if spoilt:
        reason = f": {spoilt.text[:MAX_SHOWN]!r} is not in plain digits" if spoilt.text else ""
        return Found(end, None, NOTHING + reason)
    if len(row) > 4:
        return Found(position, None, f"{len(row)} numbers in a row where a box has four")
    x1, y1, x2, y2 = (numeral.value for numeral in row)
    return Found(position, (x1, y1, x2, y2))
