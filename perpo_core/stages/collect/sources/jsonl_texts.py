"""The texts and counts of a JSON Lines row: the prompt, the answer, the notes that travel along."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from perpo_core.perception.visible import has_visible
from perpo_core.stages.collect.sources.jsonl_keys import hint_at
from perpo_core.stages.collect.sources.rows import RowError, show_value

MAX_COUNT = 1_000_000_000
# Markup that some model's tokenizer turns into a special token; a picture goes in by itself.
SPECIAL_TOKEN = re.compile(
    r"<\|[^|<>\s]{1,60}\|>|</?s>|\[/?INST\]"
    r"|<(?:image|img|video|audio|pad|unk|bos|eos|mask|end_of_utterance|im_start|im_end"
    r"|image_soft_token|start_of_turn|end_of_turn|fake_token_around_image|global-img"
    r"|row_\d+_col_\d+)>"
)


def parse_prompt(raw: dict[str, Any], where: str) -> str:
    """The question. Raises RowError."""
    prompt = get_text(raw, "prompt", where, "empty prompt")
    if not has_visible(prompt):
        raise RowError(
            "empty prompt",
            f"{where}: the prompt has no visible character: {show_value(prompt)}; write a question",
        )
    found = SPECIAL_TOKEN.search(prompt)
    if found:
        raise RowError(
            "special token in prompt",
            f"{where}: the prompt contains {found.group()!r}, which models read as markup; "
            "remove it, the image is put in by itself",
        )
    return prompt


def parse_text_answer(raw: dict[str, Any], where: str) -> str:
    """The true text; exactly "" is a blank page. Raises RowError."""
    if raw.get("answer") is None:
        raise RowError(
            "missing answer",
            f'{where}: answer is missing; give the text, "" for a blank page'
            + hint_at(raw, "answer"),
        )
    answer = get_text(raw, "answer", where, "missing answer")
    if answer and not has_visible(answer):
        raise RowError(
            "invisible answer",
            f"{where}: the answer has no visible character: {show_value(answer)}; "
            'write "" for a blank page',
        )
    return answer


def parse_count(raw: dict[str, Any], where: str) -> int:
    """The true count; 0 where nothing is there. Raises RowError."""
    answer = raw.get("answer")
    if answer is None:
        raise RowError(
            "missing answer",
            f"{where}: answer is missing; give a whole number" + hint_at(raw, "answer"),
        )
    if isinstance(answer, str) and re.fullmatch(r"\s*\d{1,10}\s*", answer, re.ASCII):
        answer = int(answer)
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer <= MAX_COUNT:
        raise RowError(
            "bad count",
            f"{where}: answer {show_value(answer)} is not a whole number from 0 to {MAX_COUNT}",
        )
    return answer


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


def get_text(raw: dict[str, Any], key: str, where: str, reason: str) -> str:
    """A text that UTF-8 can hold, as it is. Raises RowError."""
    value = raw.get(key)
    if value is None:
        raise RowError(reason, f"{where}: {key} is missing; give a text{hint_at(raw, key)}")
    if not isinstance(value, str):
        raise RowError(reason, f"{where}: {key} {show_value(value)} is not a text")
    return _check_unicode(value, key, where)


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
    return _check_unicode(value if isinstance(value, str) else json.dumps(value), key, where)


def _check_unicode(text: str, key: str, where: str) -> str:
    """JSON can spell half a surrogate pair, which no UTF-8 file can hold."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise RowError(
            "malformed row", f"{where}: {key} {show_value(text)} contains half a surrogate pair"
        )
    return text
