"""Texts: of the rarest words in the data, k of K - 1 portions are gone at degree k.

Rare words are what a text is about; "the" stays. In scripts that write no spaces every letter is a
word. A text of fewer than K words loses characters instead, drawn by the seed, since no character
means anything. What stands on the same line moves up; a line that becomes blank goes.

Of a table only what stands in its cells is words: tags, pipes, rules and fences stay.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import regex

from perpo_core.perception.degrading.base import (
    Degrader,
    Spread,
    Unit,
    Versions,
    remove_by_degree,
    split_key_units,
)
from perpo_core.perception.rewards.base import Reading
from perpo_core.perception.rewards.texts import WORD

TOO_SHORT = "too short to lose words or characters"
CHARACTER = regex.compile(r"(?=\S)\X")
IN_TABLE = re.compile(r"```[^\n]*|<[^>]*>|[^\s|<]+")
Find = Callable[[str], list[Unit]]
RemoveFromLine = Callable[[str, Sequence[tuple[int, int]]], str]


def find_words(text: str) -> list[Unit]:
    """The words of a text, as rewards split it."""
    return [Unit(word.start(), word.end(), word[0].casefold()) for word in WORD.finditer(text)]


def find_table_words(text: str) -> list[Unit]:
    """The words in the cells of a table in HTML or Markdown."""
    pieces = (piece for piece in IN_TABLE.finditer(text) if piece[0][0] != "<")
    words = (piece for piece in pieces if not piece[0].startswith("```"))
    return [Unit(*word.span(), word[0].casefold()) for word in words if re.search(r"\w", word[0])]


def remove_words(text: str, gone: Sequence[Unit]) -> str:
    """The text without these words, which are in order, and the spaces before them."""
    return _remove(text, gone, _remove_words)


def remove_characters(text: str, gone: Sequence[Unit]) -> str:
    """The text without these characters."""
    return _remove(text, gone, _remove_characters)


def _remove(text: str, gone: Sequence[Unit], remove: RemoveFromLine) -> str:
    """Line by line; a line that becomes blank goes."""
    lines, start = [], 0
    for line in text.split("\n"):
        end = start + len(line)
        spans = [
            (unit.start - start, unit.end - start) for unit in gone if start <= unit.start < end
        ]
        left = remove(line, spans) if spans else line
        if left.strip() or not line.strip():
            lines.append(left)
        start = end + 1
    return "\n".join(lines)


def _remove_words(line: str, spans: Sequence[tuple[int, int]]) -> str:
    kept, at = "", 0
    for start, end in spans:
        kept += line[at:start]
        if not line[end : end + 1].strip():  # of the spaces around it one side stays
            kept = kept.rstrip()
        at = end
    indent = line[: len(line) - len(line.lstrip())]
    return indent + (kept + line[at:]).lstrip()


def _remove_characters(line: str, spans: Sequence[tuple[int, int]]) -> str:
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(line)]
    return "".join(line[end:start] for end, start in zip(ends, starts, strict=True))


def _degrade(answer: str, spread: Spread, find: Find) -> Versions:
    if portions := split_key_units(find(answer), spread, num_left=1):
        return remove_by_degree(answer, portions, remove_words), None
    characters = [Unit(each.start(), each.end(), "") for each in CHARACTER.finditer(answer)]
    if portions := split_key_units(characters, spread, num_left=1):
        return remove_by_degree(answer, portions, remove_characters), None
    return None, TOO_SHORT


def degrade_text(answer: str, reading: Reading, spread: Spread) -> Versions:
    """A text without the first k portions of its rarest words."""
    del reading
    return _degrade(answer, spread, find_words)


def degrade_table(answer: str, reading: Reading, spread: Spread) -> Versions:
    """A table without the first k portions of the rarest words in its cells."""
    del reading
    if portions := split_key_units(find_table_words(answer), spread, num_left=1):
        return remove_by_degree(answer, portions, remove_words), None
    return None, TOO_SHORT


def _list_names(find: Find) -> Callable[[str], Iterable[str]]:
    return lambda answer: {unit.name for unit in find(answer)}


WORDS = Degrader(degrade_text, _list_names(find_words))
CELLS = Degrader(degrade_table, _list_names(find_table_words))
