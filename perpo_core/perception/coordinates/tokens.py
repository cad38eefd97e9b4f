"""Boxes of location tokens, one a number or one a corner: <bin_120> <bin_300> <bin_550> <bin_800>.

Tokens with nothing but white space between them belong together. As many as a box has are a box,
and twice or three times as many are further boxes, of which the first counts; any other number of
them is none.
"""

from __future__ import annotations

from typing import Final

import regex

from perpo_core.perception.coordinates.plain import Found
from perpo_core.perception.numerals import compile_pattern

BIN: Final = r"<(?:bin_)?([0-9]{1,4})>"
"""OFA's <bin_120>, and <25> as MiniGPT-v2 writes it: {<25><34><40><51>}."""
LOC: Final = r"<loc([0-9]{4})>"
"""PaliGemma's."""
LOC_: Final = r"<loc_([0-9]{1,4})>"
"""Florence-2's."""
PATCH: Final = r"<patch_index_([0-9]{1,4})>"
"""Kosmos-2's."""


def compile_row(token: str) -> regex.Pattern[str]:
    """A pattern of all the tokens that stand in a row."""
    return compile_pattern(rf"(?:{token}\s*+)++")


def find_token_row(
    text: str, row: regex.Pattern[str], size: int
) -> tuple[int, list[float] | None, str | None]:
    """Where the first row of `size` tokens or more stands, its first `size` values or the problem.

    The position is the text's end, and neither is there, where no row is long enough.
    """
    for match in row.finditer(text):
        values = [float(value) for value in match.captures(1)]
        if len(values) >= size and len(values) % size == 0:
            return match.start(), values[:size], None
        if len(values) > size:
            problem = f"{len(values)} location tokens in a row where a box has {size}"
            return match.start(), None, problem
    return len(text), None, None


_BINS = compile_row(BIN)


def find_bins(text: str) -> Found | None:
    """The first box of four bin tokens in a text that is written plainly."""
    position, values, problem = find_token_row(text, _BINS, 4)
    if values is None:
        return Found(position, None, problem) if problem else None
    return Found(position, (values[0], values[1], values[2], values[3]))
