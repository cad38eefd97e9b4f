"""Reading a count out of an answer: exactly one whole number, in digits, or in words if asked to.

By default number words and decimals are refused with the reason: a reader that knows "three" but
not "a pair" would score phrasings, not counts. Words count only where there are no digits, so that
"3 (three)" and "one of 3" state 3 in either reading.
"""

from __future__ import annotations

import re
from typing import Final

from perpo_core.perception.find_answer import find_answer
from perpo_core.perception.numerals import GLUE, UNSPACED, compile_pattern, write_plainly
from perpo_core.perception.rewards.number_words import MORE, PHRASE, parse_number_words
from schemas.config import CountReading

# What makes the digits before it another number: a share, Han and Hangul magnitudes, fractions.
LARGER_OR_PART: Final = (
    r"\s?[%\u2030]+|[\u5341\u62fe\u767e\u4f70\u5343\u4edf\u4e07\u842c\u5104\u4ebf\u5146"
    rf"\uc2ed\ubc31\ucc9c\ub9cc\uc5b5\uc870]|{UNSPACED}?\u534a|\s?[\u00bc-\u00be\u2150-\u215e]|{MORE}"
)
# Possessive (++), so that "6s" or "3.5x" is no number instead of "3". Neither is the power of ten
# in "2e-1", nor the place in a row, as Han writes it (\u7b2c).
NUMBER = compile_pattern(
    rf"(?<!{GLUE}|[.\u7b2c]|[0-9]\.?e[-+])[-+\u00b1]?+[0-9]++(?:[.,][0-9]++)*+"
    rf"(?:{LARGER_OR_PART})?+(?!{GLUE}|\.e[-+]?[0-9])"
)
WORDS = compile_pattern(PHRASE)
# Three zeros could be thousands: 3,000.
WHOLE_DECIMAL = re.compile(r"([0-9]+)[.,](?!000$)0+")
MAX_DIGITS = 18  # fits 64 bits
MAX_SHOWN = 40  # characters of an answer, in a reason


def parse_count(text: str, reading: CountReading = "digits") -> tuple[int | None, str | None]:
    """The count an answer states: (count, None), or (None, why there is none)."""
    answer, problem = find_answer(text)
    if answer is None:
        return None, problem
    plain = write_plainly(answer)
    digits, words = NUMBER.findall(plain), WORDS.findall(plain)
    stated = digits or (words if reading == "words" else [])
    if not stated:
        return None, f"{words[0]!r} is not in digits" if words else "no number in the answer"
    if len(stated) > 1:
        return None, f"{len(stated)} numbers in the answer where exactly one was expected"
    return _parse_digits(stated[0], reading) if digits else _parse_words(stated[0])


def _parse_digits(stated: str, reading: CountReading) -> tuple[int | None, str | None]:
    digits = stated.removeprefix("+")
    whole = WHOLE_DECIMAL.fullmatch(digits) if reading == "words" else None
    digits = whole[1] if whole else digits
    if not digits.isdecimal():
        return None, f"{digits[:MAX_SHOWN]!r} is not a whole number of 0 or more in plain digits"
    if len(digits) > MAX_DIGITS:
        return None, f"a number of {len(digits)} digits is not a count"
    return int(digits), None


def _parse_words(stated: str) -> tuple[int | None, str | None]:
    count = parse_number_words(stated)
    return (None, f"{stated!r} is not read as a count") if count is None else (count, None)
