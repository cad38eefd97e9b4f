"""How numbers are written."""

from __future__ import annotations

import math
from collections.abc import Sequence

MINUS = "\u2212"
HALF_OF_LAST_DIGIT = 0.0005  # of three decimals
MAX_DECIMALS = 6


def format_signed(value: float) -> str:
    """A change with its sign and three decimals, more where a change would look like none."""
    is_hidden = 0 < abs(value) < HALF_OF_LAST_DIGIT
    decimals = min(MAX_DECIMALS, math.ceil(-math.log10(abs(value)))) if is_hidden else 3
    return f"{value:+.{decimals}f}".replace("-", MINUS)


def format_number(value: float) -> str:
    return f"{value:.3f}".replace("-", MINUS)


def format_share(value: float) -> str:
    """A share of something in whole percent, between none and all of it."""
    return f"{min(max(value, 0.0), 1.0):.0%}"


def join(words: Sequence[str]) -> str:
    """Such as "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def capitalise(text: str) -> str:
    """With a large first letter, the others as they are."""
    return text[:1].upper() + text[1:]
