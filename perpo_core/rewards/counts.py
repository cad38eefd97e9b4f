"""Reading a count out of an answer: exactly one whole number, in digits.

Left out: number words. A reader that knows "three" but not "a pair" would score phrasings, not
counts; the error names the reason instead.
"""

from __future__ import annotations

import re

# Possessive (++), so that "6s" or "3.5x" is no number instead of "3". A number that touches a
# letter is part of a word.
NUMBER = re.compile(r"(?<![\w.])[-+]?+\d++(?:[.,]\d++)*+%?+(?!\w)")
MAX_DIGITS = 18  # fits 64 bits
NUMBER_WORD = re.compile(
    r"\b(zero|none|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b", re.IGNORECASE
)


def parse_count(text: str) -> tuple[int | None, str | None]:
    """The count an answer states: (count, None), or (None, why there is none)."""
    found = NUMBER.findall(text)
    if not found:
        word = NUMBER_WORD.search(text)
        return None, f"{word.group()!r} is not in digits" if word else "no number in the answer"
    if len(found) > 1:
        return None, f"{len(found)} numbers in the answer where exactly one was expected"
    digits = found[0].removeprefix("+")
    if not digits.isdecimal():
        return None, f"{digits!r} is not a whole number of 0 or more in plain digits"
    if len(digits) > MAX_DIGITS:
        return None, f"a number of {len(digits)} digits is not a count"
    return int(digits), None
