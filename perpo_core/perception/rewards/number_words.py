"""English number words from zero to 999, as answers state counts: "three", "a hundred and five"."""

from __future__ import annotations

import re
from typing import Final

ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
VALUES = {
    "none": 0,
    "a": 1,
    **{word: value for value, word in enumerate(ONES)},
    **{word: 10 * value for value, word in enumerate(TENS, start=2)},
}

MORE: Final = (
    r"\s+(?:hundred|thousand|million|billion|dozen)s?\b|\s+and\s+a\s+(?:half|quarter)\b"
    r"|[-\s](?:halves|thirds|quarters)\b"
)
"""What makes the number before it another one, which is not read."""
_DIGIT = "|".join(ONES[1:10])
_SMALL = rf"(?:(?:{'|'.join(TENS)})(?:[-\s](?:{_DIGIT})\b)?|{'|'.join(ONES)})\b"
PHRASE: Final = (
    rf"\b(?:(?:a|{_DIGIT})[-\s]hundred\b(?:\s(?:and\s)?{_SMALL})?|none\b|{_SMALL})(?:{MORE})?"
)


def parse_number_words(phrase: str) -> int | None:
    """The number a match of PHRASE names; None where more is said than is read.

    >>> parse_number_words("Two hundred and twenty-one"), parse_number_words("two thousand")
    (221, None)
    """
    words = re.findall("[a-z]+", phrase.lower())
    hundreds, rest = words[:2], words[2:]
    if hundreds[1:] != ["hundred"] or hundreds[0] not in {"a", *ONES[1:10]}:
        hundreds, rest = [], words
    values = [VALUES.get(word) for word in rest if word != "and"]
    if None in values:
        return None
    return (100 * VALUES[hundreds[0]] if hundreds else 0) + sum(value or 0 for value in values)
