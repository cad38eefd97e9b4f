"""What is wrong with a configuration beyond its types: names that mean nothing, and their like."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple


class TaskProblem(NamedTuple):
    """A setting of tasks or of their rewards that means nothing."""

    location: tuple[str, ...]
    """Of the key, e.g. ("lists", "min_gap", "countin")."""
    value: Any
    sentence: str


def find_unknown(
    location: tuple[str, ...], table: Mapping[str, Any], known: Iterable[str]
) -> Iterator[TaskProblem]:
    """Keys of a table that are none of the known ones, with what was meant."""
    for name, value in table.items():
        if name not in known:
            key = ".".join((*location, name))
            near = difflib.get_close_matches(name.lower(), list(known), n=1)
            advice = (
                f"did you mean {'.'.join((*location, near[0]))}?"
                if near
                else (f"known here: {', '.join(sorted(known)) or 'none'}")
            )
            yield TaskProblem((*location, name), value, f"unknown key {key}; {advice}")
