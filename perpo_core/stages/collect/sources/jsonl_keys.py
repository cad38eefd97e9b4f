"""The keys of a JSON Lines row: each at most once, none that is nearly known, none that would
change what is asked or true and cannot be expressed here. All other keys are the user's own.
"""

from __future__ import annotations

import difflib
import json
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from perpo_core.perception.tasks import TASKS
from perpo_core.perception.truths.row import MissingKey, RowError, show_value

OF_ALL_TASKS = (
    "task", "image", "images", "image_number", "prompt", "system", "messages", "split", "width",
    "height", "source", "licence",
)  # fmt: skip
KNOWN = frozenset(OF_ALL_TASKS).union(*(task.keys for task in TASKS.values()))

_STILL = "a row is about still images; name them as image or images"
_TURNS = "write the turns as messages (role and content), which end with the question"
_IN_PROMPT = "write what it says into prompt"
_ONE_BOX = (
    "write the box that is right as box, or a list of boxes, any of which is right; or in a "
    "detection row all boxes as boxes"
)
_SAMPLED = "answers are sampled from the policy; write the true one as answer"
# Key -> what to do instead.
INEXPRESSIBLE = {
    "system_prompt": "write it as system",
    "choices": _IN_PROMPT,
    "options": _IN_PROMPT,
    "tools": "nothing is called; remove it",
    "conversation": _TURNS,
    "conversations": _TURNS,
    "history": _TURNS,
    "turns": _TURNS,
    "video": _STILL,
    "videos": _STILL,
    "audio": _STILL,
    "audios": _STILL,
    "crop": "the whole image is read; cut the image file",
    "bboxes": _ONE_BOX,
    "objects": _ONE_BOX,
    "polygon": _ONE_BOX,
    "polygons": _ONE_BOX,
    "segmentation": _ONE_BOX,
    "mask": _ONE_BOX,
    "masks": _ONE_BOX,
    "points": _ONE_BOX,
    "keypoints": _ONE_BOX,
    "chosen": _SAMPLED,
    "rejected": _SAMPLED,
    "rejected_response": _SAMPLED,
    "responses": _SAMPLED,
}
# As a plain text these are often somebody's own notes; as lists and objects they are data.
OFTEN_NOTES = frozenset({"history", "objects", "options", "crop", "point", "mask", "turns"})
# What other formats call it: named where the known key is missing.
OTHER_NAMES = {
    "task": ("type", "task_type"),
    "image": ("image_path", "img", "img_path", "image_file", "file_name", "filename", "path"),
    "prompt": ("question", "query", "instruction", "expression", "text", "input"),
    **{key: names for task in TASKS.values() for key, names in task.other_names.items()},
}
CLOSE = 0.75  # of difflib: one letter wrong in a short word


class DoubledKey(ValueError):
    """A key that an object has twice, and both values."""


def parse_json(line: bytes, where: str) -> dict[str, Any]:
    """The line as a JSON object with no key twice, at any depth. Raises RowError."""
    try:
        raw = _DECODER.decode(line.decode())
    except DoubledKey as doubled:
        key, *values = map(show_value, doubled.args)
        raise RowError(
            "doubled key", f"{where}: key {key} twice, {values[0]} and {values[1]}; keep one"
        ) from None
    except UnicodeDecodeError as error:
        raise RowError(
            "malformed row", f"{where}: not UTF-8 text ({error}); save it as UTF-8"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RowError(
            "malformed row", f"{where}: not a JSON object ({error}): {show_value(line.decode())}"
        ) from error
    if not isinstance(raw, dict):
        raise RowError("malformed row", f"{where}: not a JSON object: {show_value(raw)}")
    return raw


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON allows a key twice and every reader takes another one of the two."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise DoubledKey(key, values[key], value)
        values[key] = value
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_build_object)


def check_keys(raw: dict[str, Any], where: str) -> None:
    """Raise RowError for a key that is nearly a known one, or says what is not expressed here."""
    for key, value in raw.items():
        if key in KNOWN or value in (None, "", [], {}):
            continue
        known = _SPELLINGS.get(_spell(key))
        if known is None or is_note(known, value):
            continue
        if known in KNOWN:
            raise RowError(
                "unknown key",
                f"{where}: key {show_value(key)} is not read; write {show_value(known)}",
            )
        raise RowError(
            "key that cannot be expressed",
            f"{where}: {show_value(key)[1:-1]} cannot be expressed: {INEXPRESSIBLE[known]}",
        )


def is_note(key: str, value: object) -> bool:
    """Whether a key that could mean something holds somebody's own words."""
    return key in OFTEN_NOTES and not isinstance(value, list | dict)


@contextmanager
def hinting(raw: dict[str, Any]) -> Iterator[None]:
    """Where the block finds a key missing, say which key of the row was probably meant."""
    try:
        yield
    except MissingKey as missing:
        raise RowError(missing.reason, f"{missing}{hint_at(raw, missing.key)}") from None


def hint_at(raw: dict[str, Any], key: str) -> str:
    """Where `key` is missing, the key that was probably meant, as the end of a sentence; or ""."""
    given = [name for name, value in raw.items() if name not in KNOWN and value is not None]
    close = difflib.get_close_matches(key, given, n=1, cutoff=CLOSE)
    other = [name for name in OTHER_NAMES.get(key, ()) if raw.get(name) is not None]
    found = close or other
    return f" (the row has {show_value(found[0])}: write it as {show_value(key)})" if found else ""


def _spell(key: str) -> str:
    """A key without what readers overlook: case, form of Unicode, spaces, dashes, underscores."""
    return "".join(c for c in unicodedata.normalize("NFKC", key).casefold() if c.isalnum())


_SPELLINGS = {_spell(key): key for key in (*KNOWN, *INEXPRESSIBLE)}
