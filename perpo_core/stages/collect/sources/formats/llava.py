"""LLaVA's and ShareGPT's conversations: {"from": "human" | "gpt" | "system", "value": text}."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError, show_value
from perpo_core.stages.collect.sources.formats.chat import (
    Turn,
    iterate_conversations,
    refuse_unread,
)
from perpo_core.stages.collect.sources.formats.line import Line
from schemas.sources import LlavaSource

ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}


def iterate_lines(file: Path, config: LlavaSource) -> Iterator[Line]:
    """A row for each conversation, or for each answer of it."""
    return iterate_conversations(file, config, "conversations", parse_turns)


def parse_turns(value: dict[str, Any]) -> list[Turn]:
    """Raises RowError."""
    given = value.get("conversations")
    if not isinstance(given, list):
        hint = "; its messages are of kind messages" if "messages" in value else ""
        raise RowError(
            "bad messages", f"conversations {show_value(given)} is no list of from and value{hint}"
        )
    return [_parse_turn(number, turn) for number, turn in enumerate(given, start=1)]


def _parse_turn(number: int, turn: Any) -> Turn:
    role = ROLES.get(str(turn.get("from"))) if isinstance(turn, dict) else None
    if role is None:
        raise RowError(
            "bad messages",
            f"turn {number}: {show_value(turn)} is from nobody known; from is one of "
            f"{', '.join(ROLES)}",
        )
    refuse_unread(f"turn {number}", turn, ("from", "value"))
    return Turn(role, turn.get("value"))
