"""Numbers in texts of any script: what stands for a digit or a sign, and what a number touches.

A number that touches a letter is part of a word ("6s", "3cups", "x10"). Han, kana, Hangul, Thai and
other scripts write words and numbers without a space between them, so their letters are no
obstacle: the "3" of "3" and "only" in one.

Left out: numerals that are letters themselves (Han, Roman).
"""

from __future__ import annotations

from typing import Final

import regex

from perpo_core.perception.visible import remove_invisible

# By extension, since the long-vowel mark belongs to two scripts of kana.
UNSPACED: Final = (
    r"[[\p{scx=Han}\p{scx=Hira}\p{scx=Kana}\p{scx=Hang}\p{scx=Bopo}\p{scx=Yiii}\p{scx=Thai}"
    r"\p{scx=Laoo}\p{scx=Khmr}\p{scx=Mymr}\p{scx=Tibt}]&&\p{L}]"
)
"""A letter of a script whose words are not set apart from the numbers beside them."""
GLUE: Final = rf"[[\p{{L}}\p{{N}}_]--{UNSPACED}]"
"""What makes a number part of a word; also one half, squared and the like, which are no digits."""

# One group for each value, in order. Python's unicodedata may be years behind `regex`.
_OTHER_DIGIT = regex.compile(
    "|".join(rf"([[\p{{Nd}}--[0-9]]&&\p{{nv={value}}}])" for value in range(10)), regex.VERSION1
)
_PLAIN = str.maketrans(
    {
        **{chr(0xFEE0 + ord(sign)): sign for sign in "%+-./:;=[]{}()"},  # full width
        "\u2212": "-", "\ufe63": "-", "\ufe62": "+", "\u066a": "%", "\ufe6a": "%",
        "\u066b": ".",  # Arabic's decimal separator
    }
)  # fmt: skip


def write_plainly(text: str) -> str:
    """Digits and signs of any script and width as ASCII has them; what is not seen goes.

    >>> write_plainly("\\uff13\\uff05 \\u2212\\u0663")
    '3% -3'
    """
    if text.isascii() and text.isprintable():
        return text
    seen = remove_invisible(text).translate(_PLAIN)
    return _OTHER_DIGIT.sub(lambda digit: str(digit.lastindex - 1), seen)


def compile_pattern(pattern: str) -> regex.Pattern[str]:
    """A pattern in which UNSPACED and GLUE may stand; letters match in either case."""
    return regex.compile(pattern, regex.VERSION1 | regex.IGNORECASE)
