"""The chat of a row: its question, and what may stand before it.

A row says `prompt`, or `messages`, turns that end with the question; `system` may stand before
either. Images take the places of `<image>` in a user's texts, or of parts of type image and
image_url; where no place is named, all come before the first question, as TRL puts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perpo_core.perception.truths.row import RowError, show_value
from perpo_core.stages.collect.sources.jsonl_texts import MARKER, parse_asked

Part = dict[str, Any]
Message = dict[str, Any]
"""Of schemas.arrow.MESSAGE."""
ROLES = ("system", "user", "assistant")
IMAGE_PARTS = ("image", "image_url")


def parse_messages(raw: dict[str, Any], where: str, num_images: int) -> list[Message]:
    """The messages of a row with so many images. Raises RowError."""
    turns = _parse_turns(raw, where)
    if raw.get("system") is not None:
        turns.insert(0, _build("system", [_text(parse_asked(raw, "system", where))]))
    _check_order([turn["role"] for turn in turns], where)
    if not any(part["type"] == "text" for part in turns[-1]["content"]):
        raise RowError("empty prompt", f"{where}: the question has no text; write one")
    return _place_images(turns, where, num_images)


def list_image_parts(raw: dict[str, Any]) -> list[Part]:
    """The parts of messages that stand for an image, right or wrong otherwise."""
    messages = raw.get("messages")
    turns = messages if isinstance(messages, list) else []
    contents = [turn.get("content") for turn in turns if isinstance(turn, dict)]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return [part for part in parts if isinstance(part, dict) and part.get("type") in IMAGE_PARTS]


def _parse_turns(raw: dict[str, Any], where: str) -> list[Message]:
    given = raw.get("messages")
    if not given:
        return [_build("user", _cut(parse_asked(raw, "prompt", where, True)))]
    if raw.get("prompt") is not None:
        raise RowError(
            "two prompts", f"{where}: prompt beside messages; write the question as the last one"
        )
    if not isinstance(given, list):
        raise RowError("bad messages", f"{where}: messages {show_value(given)} is not a list")
    return [_parse_turn(turn, f"{where}: message {n}") for n, turn in enumerate(given, start=1)]


def _parse_turn(turn: Any, where: str) -> Message:
    if not isinstance(turn, dict) or turn.get("role") not in ROLES:
        allowed = ", ".join(ROLES)
        raise RowError(
            "bad messages", f"{where}: {show_value(turn)} has no role; it is one of {allowed}"
        )
    unread = [key for key, value in turn.items() if key not in ("role", "content") and value]
    if unread:
        raise RowError("bad messages", f"{where}: {show_value(unread[0])} is not read; remove it")
    role, content = turn["role"], turn.get("content")
    if not isinstance(content, list):
        is_user = role == "user"
        text = parse_asked(turn, "content", where, is_user)
        return _build(role, _cut(text) if is_user else [_text(text)])
    parts = [part for each in content for part in _parse_part(each, role, where)]
    if not parts:
        raise RowError("empty prompt", f"{where}: content is empty; write a text")
    return _build(role, parts)


def _parse_part(part: Any, role: str, where: str) -> Sequence[Part]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in IMAGE_PARTS and role == "user":
        return [_image()]
    if kind == "text":
        return [_text(parse_asked(part, "text", where))]
    raise RowError(
        "bad messages",
        f"{where}: part {show_value(part)} is no text, and images are a user's; remove it",
    )


def _check_order(roles: list[str], where: str) -> None:
    asked = roles[1:] if roles[0] == "system" else roles
    if asked != ["user", "assistant"] * (len(asked) // 2) + ["user"]:
        raise RowError(
            "bad messages",
            f"{where}: the messages are of {', '.join(roles)}; after one system message at most, "
            "user and assistant take turns, and the last one is the user's question",
        )


def _place_images(turns: list[Message], where: str, num_images: int) -> list[Message]:
    """The messages with as many places as images."""
    named = sum(part["type"] == "image" for turn in turns for part in turn["content"])
    if not named:
        first = next(turn for turn in turns if turn["role"] == "user")
        first["content"] = [_image() for _ in range(num_images)] + first["content"]
    elif named != num_images:
        raise RowError(
            "image missing",
            f"{where}: the question has {named} places for images ({MARKER}) and the row "
            f"{num_images} images; give each image one place, or name no place",
        )
    return turns


def _cut(text: str) -> list[Part]:
    """A text with markers as parts; line ends beside a marker, and blanks at both ends, are its.

    >>> [part["text"] for part in _cut("<image>\\nWhat differs from <image> here?")]
    [None, 'What differs from ', None, ' here?']
    """
    if MARKER not in text:
        return [_text(text)]
    pieces = [piece.removeprefix("\n").removesuffix("\n") for piece in text.split(MARKER)]
    written = [number for number, piece in enumerate(pieces) if piece.strip()]
    for number in written[:1]:
        pieces[number] = pieces[number].lstrip()
    for number in written[-1:]:
        pieces[number] = pieces[number].rstrip()
    between = [[_text(piece)] if piece.strip() else [] for piece in pieces]
    return between[0] + [part for parts in between[1:] for part in (_image(), *parts)]


def _build(role: str, content: Sequence[Part]) -> Message:
    return {"role": role, "content": list(content)}


def _text(text: str) -> Part:
    return {"type": "text", "text": text}


def _image() -> Part:
    return {"type": "image", "text": None}
