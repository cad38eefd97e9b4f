"""Which rows a page shows: those that the filters leave, by page, or as far as a search got.

Filters look at arrays. Words are looked for row by row in the files, for SEARCH_S at most: a page
shows what was found until then, says how far that is, and goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from perpo_core.perception.tasks import TASKS
from perpo_core.view.numbers import Codes, Mask, Numbers
from perpo_core.view.query import Query

PER_PAGE = 10
SEARCH_S = 2.0
CHUNK_ROWS = 256


@dataclass(frozen=True)
class Filter:
    """A choice among values: (value, label), the first of which filters nothing."""

    name: str
    label: str
    options: Sequence[tuple[str, str]]


class Tab(Protocol):
    """Rows of one kind."""

    @property
    def num_rows(self) -> int:
        """Of all pages, whatever the filters."""

    @property
    def filters(self) -> Sequence[Filter]:
        """What may be chosen."""

    @property
    def gap_label(self) -> str:
        """Of what `least` and `most` bound; "" where there is no such thing."""

    @property
    def orders(self) -> Sequence[tuple[str, str]]:
        """(value, label) of Query.order."""

    @property
    def notes(self) -> Sequence[str]:
        """What is not shown, and why, in sentences."""

    def match(self, query: Query) -> Mask:
        """[rows] which the filters leave."""

    def sort(self, numbers: Numbers, order: str) -> Numbers:
        """The rows by their difference, widest or narrowest first."""

    def read_texts(self, numbers: Numbers) -> list[str]:
        """What is searched of each row."""

    def build_cards(self, numbers: Numbers) -> list[Any]:
        """What is shown of each row."""


@dataclass(frozen=True)
class Search:
    """How far a search got."""

    words: str
    num_before: int
    """Rows that an earlier page of it looked at."""
    num_looked: int
    """Rows looked at, those before included."""
    goes_on: bool


@dataclass(frozen=True)
class Chosen:
    """The rows of a page."""

    numbers: Numbers
    num_matching: int
    """That the filters leave."""
    page: int
    num_pages: int
    search: Search | None = None

    @property
    def first(self) -> int:
        """Number of the page's first row among those that match, from 1."""
        return (self.page - 1) * PER_PAGE + 1


def choose(tab: Tab, query: Query, budget_s: float = SEARCH_S) -> Chosen:
    """The rows of a page; of one behind the last, those of the last."""
    matching = np.flatnonzero(tab.match(query))
    if query.q:
        return _search(tab, query, matching, budget_s)
    if query.order:
        matching = tab.sort(matching, query.order)
    num_pages = max(1, -(-len(matching) // PER_PAGE))
    page = min(query.page, num_pages)
    return Chosen(matching[(page - 1) * PER_PAGE : page * PER_PAGE], len(matching), page, num_pages)


def _search(tab: Tab, query: Query, matching: Numbers, budget_s: float) -> Chosen:
    """In the order of the files: any other would decode a row group for every row."""
    wanted, deadline_s = query.q.casefold(), time.monotonic() + budget_s
    found: list[int] = []
    start = at = min(query.start, len(matching))
    while at < len(matching) and len(found) < PER_PAGE:
        if at > start and time.monotonic() > deadline_s:
            break
        chunk = matching[at : at + CHUNK_ROWS]
        for number, text in zip(chunk, tab.read_texts(chunk), strict=True):
            at += 1
            if wanted in text.casefold():
                found.append(int(number))
            if len(found) == PER_PAGE:
                break
    search = Search(query.q, start, at, at < len(matching))
    return Chosen(np.array(found, np.int64), len(matching), 1, 1, search)


def build_filter(name: str, every: str, codes: Codes) -> Filter:
    """A filter by a column of names, each with how many rows have it."""
    labels = {each: task.label for each, task in TASKS.items()} if name == "task" else {}
    options = [(each, f"{labels.get(each, each)} ({count:,})") for each, count in codes.count()]
    return Filter(name, name.capitalize(), [("", every), *options])


def join_texts(row: Mapping[str, Any]) -> str:
    """The texts of a prompt's messages."""
    return "\n".join(
        part["text"]
        for message in row["prompt"] or ()
        for part in message["content"] or ()
        if part["text"]
    )
