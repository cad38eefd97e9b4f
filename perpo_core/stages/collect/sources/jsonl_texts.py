"""The texts of a JSON Lines row that are no truth: prompt, task and split, notes that travel."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from perpo_core.perception.truths.row import (
    RowError,
    check_unicode,
    get_text,
    show_value,
)
from perpo_core.perception.visible import has_visible
from perpo_core.stages.collect.sources.jsonl_keys import hint_at

MARKER = "<image>"
"""Where an image stands in a user's text."""
# Markup that some model's tokenizer turns into a special token; a picture goes in by itself.
SPECIAL_TOKEN = re.compile(
    r"<\|[^|<>\s]{1,60}\|>|</?s>|\[/?INST\]"
    r"|<(?:image|img|video|audio|pad|unk|bos|eos|mask|end_of_utterance|im_start|im_end"
    r"|image_soft_token|start_of_turn|end_of_turn|fake_token_around_image|global-img"
    r"|row_\d+_col_\d+)>"
)


def parse_asked(raw: dict[str, Any], key: str, where: str, may_place_images: bool = False) -> str:
    """A text that the policy is to read, without markup of its own. Raises RowError."""
    text = get_text(raw, key, where, "empty prompt")
    if not has_visible(text):
        raise RowError(
            "empty prompt",
            f"{where}: the {key} has no visible character: {show_value(text)}; write a text",
        )
    found = SPECIAL_TOKEN.search(text.replace(MARKER, "") if may_place_images else text)
    if found:
        raise RowError(
            "special token in prompt",
            f"{where}: the {key} contains {found.group()!r}, which models read as markup; "
            "remove it, images are put in by themselves",
        )
    return text


def parse_choice(
    raw: dict[str, Any], key: str, choices: tuple[str, ...], where: str, reason: str
) -> str:
    """One of a few words. Raises RowError, listing them."""
    value = raw.get(key)
    if value not in choices:
        said = f"{key} {show_value(value)} is not known"
        if value is None:
            said = f"{key} is missing{hint_at(raw, key)}"
        raise RowError(reason, f"{where}: {said}; it is one of {', '.join(choices)}")
    return str(value)


def get_note(raw: dict[str, Any], key: str, where: str) -> str:
    """A text that travels along, "" where there is none; numbers and objects as JSON."""
    value = raw.get(key)
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        raise RowError(
            "malformed row",
            f"{where}: {key} {show_value(value)} is no text; write one, or leave {key} out",
        )
    return check_unicode(value if isinstance(value, str) else json.dumps(value), key, where)
