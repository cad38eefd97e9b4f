"""OpenAI's messages, and ms-swift's with images and objects beside them."""

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
from perpo_core.stages.collect.sources.jsonl_prompt import ROLES
from schemas.sources import MessagesSource


def iterate_lines(file: Path, config: MessagesSource) -> Iterator[Line]:
    """A row for each conversation, or for each answer of it."""
    return iterate_conversations(file, config, "messages", parse_turns)


def parse_turns(value: dict[str, Any]) -> list[Turn]:
    """Raises RowError."""
    given = value.get("messages")
    if not isinstance(given, list):
        hint = "; its conversations are of kind llava" if "conversations" in value else ""
        raise RowError(
            "bad messages", f"messages {show_value(given)} is no list of role and content{hint}"
        )
    return [_parse_turn(number, turn) for number, turn in enumerate(given, start=1)]


def _parse_turn(number: int, turn: Any) -> Turn:
    if not isinstance(turn, dict) or turn.get("role") not in ROLES:
        raise RowError(
            "bad messages",
            f"message {number}: {show_value(turn)} has no role; it is one of {', '.join(ROLES)}",
        )
    refuse_unread(f"message {number}", turn, ("role", "content"))
    return Turn(turn["role"], turn.get("content"))
