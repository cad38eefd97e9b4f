"""What a format makes of a record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from perpo_core.perception.truths.row import RowError


class PassedOver(RowError):
    """A sound record that the source does not ask about: counted by its reason, never an end."""


@dataclass(frozen=True)
class Line:
    """A JSON Lines row, or why the record is none."""

    label: str
    """Finds the record again in its file, in error sentences too: "row 3", "annotation 17"."""
    content: bytes | RowError
    """JSON; an error's sentence is without the place, which is put before it."""
    num_answers: int = 0
    """Answers of a policy that its record holds besides, which no row takes."""

    @property
    def raw(self) -> bytes:
        """What the line says, for comparing."""
        if isinstance(self.content, RowError):
            return f"{self.content.reason}: {self.content}".encode()
        return self.content


def build_line(label: str, convert: Callable[[], dict[str, Any]]) -> Line:
    """The row that a record converts to; keys that are None say nothing."""
    try:
        row = convert()
    except RowError as error:
        return Line(label, error)
    said = {key: value for key, value in row.items() if value is not None}
    return Line(label, json.dumps(said, default=str).encode())
