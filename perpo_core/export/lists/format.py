"""What a format of lists is: a function from a list to rows, the files that they go into, words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from perpo_core.export.lists.files import Files
from perpo_core.export.lists.pairs import Pair
from perpo_core.export.lists.pictures import Pictures
from perpo_core.export.lists.ranked import Ranked, Row
from schemas.exports import PairsName

BuildRows = Callable[[Ranked, Sequence[Pair], Pictures], Iterator[Row]]
"""The rows of a list and its pairs (none where whole lists are rows); raises CannotSay."""
PAIRS: tuple[PairsName, ...] = ("best-worst", "best-rest", "adjacent", "all")


class CannotSay(ValueError):
    """A format has no place for something in a list; the message is the reason it counts under."""


@dataclass(frozen=True)
class Format:
    """One way of handing lists out."""

    files: Files
    build_rows: BuildRows
    choices: tuple[PairsName, ...]
    """What may become a row; the first is the default."""
    loads: str
    """Markdown: who loads it and how, from inside the folder."""
    placeholders: str
    """Where its images stand in a prompt, in words."""
    lost: str
    """What the rows do not say, in words."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """Further small files: name -> content."""
    warning: str | None = None
    """What whoever exports has to know, in one sentence."""
