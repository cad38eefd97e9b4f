"""What of a store could not be read, and was left out: each file is named once.

Whatever reads a small file of a store reads it by itself. One that is damaged or foreign is noted
here and the reader goes on; the command names what was noted at its end (flows/commands/common.py),
a run in its log. Kept for the process, since a command reads the same file more than once, in
several threads.
"""

from __future__ import annotations

_REASONS: dict[str, str] = {}
_SAID: set[str] = set()


def leave_out(path: str, reason: str) -> None:
    """Note a file and why it is left out; the last reason counts, from who knows most."""
    _REASONS[path] = reason


def mark_said(path: str) -> None:
    """Somebody was told of this file already, in words of the reader's own."""
    _SAID.add(path)


def list_left_out() -> list[str]:
    """A sentence for every file that nobody was told of yet."""
    return [f"left out: {path}: {reason}" for path, reason in _REASONS.items() if path not in _SAID]


def forget_left_out() -> None:
    """Begin anew, as a new command does."""
    _REASONS.clear()
    _SAID.clear()
