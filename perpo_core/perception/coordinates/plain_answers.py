"""Answers that many can be read of at once: ASCII, and one box as its format has it.

Patterns for RE2, which Arrow runs over a whole column; groups n0 to n3 are the numbers in the order
in which they are written. What matches is read as the slow way reads it: no tag of thoughts begins
without "<" or "[", and a bracket of four plain numbers before which no digit stands is the first
box. What does not match says nothing: the slow way reads it.

Left out: signs but "-", exponents, numbers that begin or end in a point, anything beyond ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from perpo_core.perception.coordinates.order import Order

_BLANKS: Final = r"[\t\n\r ]*"
_NUMBER: Final = r"-?[0-9]+(?:\.[0-9]+)?"
# ASCII without control characters: before the box without digits and < [ ( {, after it without < [.
_BEFORE: Final = r"[\t\n\r -')-/:;=-Z\\-z|-~]*"
_AFTER: Final = r"[\t\n\r -;=-Z\\-~]*"


@dataclass(frozen=True)
class Plain:
    """A pattern, and how its four numbers become x1, y1, x2, y2."""

    pattern: str
    order: Order
    """Also of four arrays."""


_ROW: Final = f"{_BLANKS},{_BLANKS}".join(f"(?P<n{i}>{_NUMBER})" for i in range(4))
# As Qwen and Gemini write it; the only digit before the box is part of a word.
_KEY: Final = rf"(?:\[?{_BLANKS}\{{{_BLANKS}\"b?box_2d\"{_BLANKS}:{_BLANKS})?"
PLAIN_LIST: Final = rf"^{_BEFORE}{_KEY}[\[({{]{_BLANKS}{_ROW}{_BLANKS}[\])}}]{_AFTER}$"


def write_plain_tokens(token: str) -> str:
    """The pattern of four location tokens; `token` is that of one, its number a group."""
    tokens = (token.replace("(", f"(?P<n{i}>", 1) for i in range(4))
    return rf"^{_BEFORE}{_BLANKS.join(tokens)}{_AFTER}$"
