"""Four names with a number each: {"x1": 40, "y1": 60, "x2": 120, "y2": 160}, x_min = 40, left: 40.

Names belong together within one pair of braces, or outside of all. A name that comes twice before
the four are there, and names of further corners (x3), are no box; neither are x, y, width, height.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from perpo_core.perception.coordinates.plain import RUN, Found, Numeral, judge, read_numeral
from perpo_core.perception.numerals import compile_pattern

SCHEMES = [
    ("x1", "y1", "x2", "y2"),
    ("x0", "y0", "x1", "y1"),
    ("xmin", "ymin", "xmax", "ymax"),
    ("minx", "miny", "maxx", "maxy"),
    ("left", "top", "right", "bottom"),
]
QUOTES = r"[\"'`*\u2018\u2019\u201c\u201d]"
NAMED = compile_pattern(
    r"(?P<brace>[{}])|(?<![\p{L}\p{N}_-])(?P<name>[xy]_?[0-9]|[xy][_-]?(?:min|max)"
    r"|(?:min|max)[_-]?[xy]|left|top|right|bottom)"
    rf"{QUOTES}*+\s*+[:=]\s*+{QUOTES}*+(?P<run>{RUN})"
)
FURTHER = re.compile(r"[xy][3-9]")


@dataclass
class Scope:
    """Names and numbers that belong together."""

    position: int = 0
    """Of the first."""
    numerals: dict[str, Numeral] = field(default_factory=dict)
    is_doubled: bool = False

    def judge(self, end: int) -> Found | None:
        """The box that they name, if they do."""
        names = self.numerals.keys()
        complete = [scheme for scheme in SCHEMES if names >= set(scheme)]
        if not complete or self.is_doubled or {"x0", "x2"} <= names:
            return None
        if any(map(FURTHER.fullmatch, names)):
            return None
        return judge([self.numerals[name] for name in complete[0]], self.position, end)


def find_named(text: str) -> Found | None:
    """The first box of four named numbers in a text that is written plainly."""
    return min(list_named(text), key=lambda finding: finding.position, default=None)


def list_named(text: str) -> Iterator[Found]:
    """All of them, as their braces end."""
    if ":" not in text and "=" not in text:  # no name is given a number
        return
    for scope in _list_scopes(text):
        if found := scope.judge(len(text)):
            yield found


def _list_scopes(text: str) -> Iterator[Scope]:
    scopes = [Scope()]
    for match in NAMED.finditer(text):
        if match["brace"] == "{":
            scopes.append(Scope())
        elif match["brace"]:
            yield scopes.pop()
            scopes = scopes or [Scope()]
        else:
            name = re.sub("[_-]", "", match["name"].lower())
            if name in scopes[-1].numerals and scopes[-1].judge(len(text)):
                yield scopes.pop()
                scopes.append(Scope())
            _add(scopes[-1], name, match)
    yield from scopes


def _add(scope: Scope, name: str, match: re.Match[str]) -> None:
    numeral = read_numeral(match["run"])
    if numeral is None:
        return
    scope.position = scope.position if scope.numerals else match.start()
    scope.is_doubled |= name in scope.numerals
    scope.numerals[name] = numeral
