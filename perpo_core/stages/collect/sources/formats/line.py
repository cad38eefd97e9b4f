"""What a format makes of a record."""

from __future__ import annotations

from dataclasses import dataclass

from perpo_core.perception.truths.row import RowError


@dataclass(frozen=True)
class Line:
    """A JSON Lines row, or why the record is none."""

    label: str
    """Finds the record again in its file, in error sentences too: "row 3", "annotation 17"."""
    content: bytes | RowError
    """JSON; an error's sentence is without the place, which is put before it."""

    @property
    def raw(self) -> bytes:
        """What the line says, for comparing."""
        if isinstance(self.content, RowError):
            return f"{self.content.reason}: {self.content}".encode()
        return self.content
