"""Four numbers with blanks between them in a box's own tags: <box>120 300 550 800</box>.

The tags say that the numbers are a box, which blanks alone do not. <bbox>, <|box|> and
<|box_start|> are read too; brackets within the tags do not matter. What has commas is a list or two
corners, and read as those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from perpo_core.perception.coordinates.plain import (
    Found,
    has_comma,
    judge,
    read_numeral,
    take_first,
)
from perpo_core.perception.numerals import compile_pattern

TAGGED = compile_pattern(r"<\|?b?box(?:_start)?\|?>(?P<inside>[^<]*+)")
BRACKETS = re.compile(r"[\[\](){}]")


def find_tagged(text: str) -> Found | None:
    """The first box in tags, of numbers with blanks, in a text that is written plainly."""
    return take_first(list_tagged(text), len(text))


def list_tagged(text: str) -> Iterator[Found]:
    """All of them, in the text's order."""
    for match in TAGGED.finditer(text):
        if has_comma(match["inside"]):
            continue
        row = [read_numeral(item) for item in BRACKETS.sub(" ", match["inside"]).split()]
        numerals = [numeral for numeral in row if numeral is not None]
        found = judge(numerals, match.start(), len(text)) if len(numerals) == len(row) else None
        if found:
            yield found
