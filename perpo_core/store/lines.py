"""Small files of JSON lines that only ever grow: each line is read, and left out, by itself.

A damaged line stays where it is when another is added: what could be mended is not lost.
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter

from perpo_core.store.lenient import Unreadable, parse
from perpo_core.store.store import Store

M = TypeVar("M", bound=BaseModel)
MAX_NAMED = 10  # line numbers in a sentence


def load_lines(store: Store, name: str, model: type[M]) -> list[M]:
    """The lines of a file that can be read, in order; the others are named by their numbers."""
    found, damaged = parse_lines(store.read(name), model)
    if damaged:
        store.leave_out(name, describe_damaged(damaged))
    return found


def parse_lines(body: bytes | None, model: type[M]) -> tuple[list[M], list[int]]:
    """What the lines say, and the numbers, from 1, of those that cannot be read."""
    found: list[M] = []
    damaged: list[int] = []
    for number, line in enumerate((body or b"").splitlines(), start=1):
        try:
            found += [parse(_adapt(model), line, "line")] if line.strip() else []
        except Unreadable:
            damaged.append(number)
    return found, damaged


def describe_damaged(numbers: list[int]) -> str:
    """Such as "line 3 cannot be read", "lines 3, 4 cannot be read"."""
    named = ", ".join(str(number) for number in numbers[:MAX_NAMED])
    rest = len(numbers) - MAX_NAMED
    more = f" and {rest:,} more" if rest > 0 else ""
    return f"line{'s' if len(numbers) > 1 else ''} {named}{more} cannot be read"


def add_line(body: bytes | None, line: bytes) -> bytes | None:
    """A file of lines with one more, behind a last one that was cut off; None if it has it."""
    lines = (body or b"").splitlines(keepends=True)
    if line in lines:
        return None
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    return b"".join([*lines, line])


@cache
def _adapt(model: type[M]) -> TypeAdapter[M]:
    return TypeAdapter(model)
