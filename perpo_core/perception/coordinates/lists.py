"""Four numbers with commas between them: [40, 60, 120, 160], or in a sentence.

In brackets every item counts: what is no plain number spoils the list unless it is a word at one of
its ends ("cat, 1, 2, 3, 4"). In a sentence a list begins with the number before its first comma
and ends with the one after its last. Quotes, colons and the like end a list, as brackets do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from perpo_core.perception.coordinates.plain import (
    COMMA,
    RUN,
    Found,
    Numeral,
    judge,
    read_numeral,
    take_first,
)
from perpo_core.perception.numerals import UNSPACED, compile_pattern

TOKEN = compile_pattern(rf"(?P<comma>{COMMA})|(?P<run>{RUN}|{UNSPACED}++)|(?P<end>\S)")
# An item of a list without a value, and what looks like a coordinate's name: x10.
NO_VALUE = compile_pattern(r"[-+]?(?:nan|inf(?:inity)?|null|none)|\p{L}\p{N}.*+")
SHORT = 2  # words an item of a list has at most; more are a sentence

UNREAD = Numeral("", math.nan)  # no item, or several words of which one has digits

Item = list[str]
Row = list[Numeral]


class Stretch(NamedTuple):
    """Items between commas, and what stands before the first and after the last."""

    position: int
    left: str
    items: list[Item]
    right: str


def find_list(text: str) -> Found | None:
    """The first list of four numbers or more in a text that is written plainly."""
    return take_first(list_rows(text), len(text))


def list_rows(text: str) -> Iterator[Found]:
    """All of them, in the text's order."""
    for stretch in _split(text):
        for row in _read_bracket(stretch.items) if _is_list(stretch) else _read(stretch.items):
            if found := judge(row, stretch.position, len(text)):
                yield found


def _split(text: str) -> Iterator[Stretch]:
    position, left, items = 0, "", [Item()]
    for token in TOKEN.finditer(text):
        if token.lastgroup == "end":
            yield Stretch(position, left, items, token.group())
            position, left, items = token.end(), token.group(), [Item()]
        elif token.lastgroup == "comma":
            items.append(Item())
        else:
            items[-1].append(token.group())
    yield Stretch(position, left, items, "")


def _is_list(stretch: Stretch) -> bool:
    in_brackets = stretch.left in tuple("[({") and stretch.right in ("", *"])}")  # "": cut off
    return in_brackets and all(len(item) <= SHORT for item in stretch.items)


def _read_bracket(items: list[Item]) -> Iterator[Row]:
    """The one row of a list in brackets, words at its ends left out."""
    values = [_read_item(item) for item in items]
    values[0] = values[0] if len(items[0]) < SHORT else _read_edge(items[0][::-1])
    values[-1] = values[-1] if len(items[-1]) < SHORT else _read_edge(items[-1])
    known = [number for number, value in enumerate(values) if value is not None]
    if known:
        inner = range(known[0], known[-1] + 1)
        yield [values[i] or UNREAD for i in inner]


def _read_item(item: Item) -> Numeral | None:
    if len(item) != 1:
        return UNREAD if any(map(read_numeral, item)) else None
    is_no_value = NO_VALUE.fullmatch(item[0])
    return Numeral(item[0], math.nan) if is_no_value else read_numeral(item[0])


def _read_edge(item: Item) -> Numeral | None:
    """Of "is 1" at the start and of "4 pixels" at the end the number; nothing of "3 4"."""
    number, *others = item
    return _read_item([number]) if not any(map(read_numeral, others)) else _read_item(item)


def _read(items: Iterable[Item]) -> Iterator[Row]:
    """Rows of a sentence."""
    row: Row = []
    for item in items:
        first = read_numeral(item[0]) if item else None
        if row and first:
            row.append(first)
        if len(item) == 1 and first:
            row = row or [first]
            continue
        yield row
        last = read_numeral(item[-1]) if item else None
        row = [last] if last else []
    yield row
