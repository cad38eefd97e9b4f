"""Boxes of location tokens, one a number or one a corner: <bin_120> <bin_300> <bin_550> <bin_800>.

Tokens with nothing but white space between them belong together. As many as a box has are a box,
and twice or three times as many are further boxes, of which the first counts; any other number of
them is none.
"""

from __future__ import annotations

from collections.abc import Iterator
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
    for position, boxes, problem in list_token_rows(text, row, size):
        return position, boxes[0] if boxes else None, problem
    return len(text), None, None


def list_token_rows(
    text: str, row: regex.Pattern[str], size: int
) -> Iterator[tuple[int, list[list[float]], str | None]]:
    """All such rows: where each stands, and its boxes of `size` values or the problem."""
    for match in row.finditer(text):
        values = [float(value) for value in match.captures(1)]
        if len(values) < size:
            continue
        if len(values) % size == 0:
            yield match.start(), [values[i : i + size] for i in range(0, len(values), size)], None
        else:
            problem = f"{len(values)} location tokens in a row where a box has {size}"
            yield match.start(), [], problem


_BINS = compile_row(BIN)


def find_bins(text: str) -> Found | None:
    """The first box of four bin tokens in a text that is written plainly."""
    position, values, problem = find_token_row(text, _BINS, 4)
    if values is None:
        return Found(position, None, problem) if problem else None
    return Found(position, (values[0], values[1], values[2], values[3]))


def list_bins(text: str) -> Iterator[Found]:
    """All of them, in the text's order."""
    for position, boxes, problem in list_token_rows(text, _BINS, 4):
        if problem:
            yield Found(position, None, problem)
        for x1, y1, x2, y2 in boxes:
            yield Found(position, (x1, y1, x2, y2))
