"""JSON of a store as far as this version reads it: damage is told from another version's words.

A file of another version may say more than this one knows, or in other words. What it says besides
is ignored (`parse`), or dropped and named where somebody has to know (`parse_dropping`). A file
that is damaged, or something else altogether, raises Unreadable. Left out: guessing what a renamed
setting was meant to be.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")
MAX_ROUNDS = 100  # what is dropped may uncover more; no file of ours has so many settings
TAG = "kind"  # tells the members of a union apart, and stands in pydantic's locations


class Unreadable(ValueError):
    """A file is damaged or foreign; the message is a clause that says which."""


def parse(adapter: TypeAdapter[T], body: bytes, what: str) -> T:
    """What `body` says, in words that this version knows; `what`: what it should be."""
    try:
        return adapter.validate_json(body, extra="ignore")
    except ValidationError as error:
        raise _explain(body, what, error) from error


def parse_dropping(model: type[M], body: bytes, what: str) -> tuple[M, dict[str, Any]]:
    """The same, and what was dropped to read it: dotted name -> value.

    What this version has no default for cannot be dropped; that is damage.
    """
    try:
        return model.model_validate_json(body), {}
    except ValidationError as error:
        problems = error
    dropped: dict[str, Any] = {}
    for _ in range(MAX_ROUNDS):
        if any(problem["type"] == "json_invalid" for problem in problems.errors()):
            break
        raw = json.loads(body)
        for names in [find_setting(raw, problem["loc"]) for problem in problems.errors()]:
            _drop(raw, names, dropped)
        if (smaller := json.dumps(raw).encode()) == body:
            break
        body = smaller
        try:
            return model.model_validate_json(body), dropped
        except ValidationError as error:
            problems = error
    raise _explain(body, what, problems)


def find_setting(raw: Any, location: Sequence[int | str]) -> tuple[str, ...]:
    """The names under which the innermost thing of a location lies; () for the file itself.

    >>> find_setting({"source": {"kind": "digits", "seed": 5}}, ("source", "digits", "seed"))
    ('source', 'seed')
    >>> find_setting({"source": {"kind": "jsonl"}}, ("source", "jsonl", "files"))
    ('source',)
    """
    names: list[str] = []
    for part in location:
        if not isinstance(raw, dict):
            break
        if part in raw:
            names.append(str(part))
            raw = raw[part]
        elif part != raw.get(TAG):
            break
    return tuple(names)


def _drop(raw: Any, names: tuple[str, ...], dropped: dict[str, Any]) -> None:
    for name in names[:-1]:
        raw = raw.get(name, {})
    if names and names[-1] in raw:
        dropped[".".join(names)] = raw.pop(names[-1])


def _explain(body: bytes, what: str, error: ValidationError) -> Unreadable:
    problem = error.errors()[0]
    if not body.strip():
        return Unreadable("it is empty")
    if problem["type"] == "json_invalid":
        return Unreadable("it is not whole JSON")
    where = ".".join(str(part) for part in problem["loc"])
    return Unreadable(f"it is no {what}" + (f" ({where}: {problem['msg']})" if where else ""))
