"""One row of a JSON Lines source: what it must say, and one sentence for everything it may not.

Keys: image, task, prompt; box (with box_format) or box_norm for grounding, answer for ocr and
counting; optional split, width, height, source, licence. Further keys are the user's own.
Boxes leave here in the internal form: 0-1 of the upright original image.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from perpo_core.boxes import Box
from perpo_core.sources.rows import RowError
from schemas.base import SPLITS, TASKS, Split, Task

BOX_FORMAT = "xyxy_pixels"  # pixels of the upright image, x2 and y2 exclusive
TOLERANCE_PIXELS = 1.0  # rounding of whoever wrote the box; more is another image's box
MAX_COUNT = 1_000_000_000
MAX_SHOWN_CHARACTERS = 60
# Markup that some model's tokenizer turns into a special token; a picture goes in by itself.
SPECIAL_TOKEN = re.compile(
    r"<\|[^|<>\s]{1,60}\|>|</?s>|\[/?INST\]"
    r"|<(?:image|img|video|audio|pad|unk|bos|eos|mask|end_of_utterance|im_start|im_end"
    r"|image_soft_token|start_of_turn|end_of_turn|fake_token_around_image|global-img"
    r"|row_\d+_col_\d+)>"
)


@dataclass(frozen=True)
class ParsedRow:
    """What a row says, checked."""

    task: Task
    split: Split | None
    prompt: str
    truth: Box | str | int
    source: str
    licence: str


def parse_json(line: bytes, where: str) -> dict[str, Any]:
    """The line as a JSON object. Raises RowError."""
    try:
        raw = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise RowError("malformed row", f"{where}: not UTF-8 text ({error})") from error
    except (ValueError, RecursionError) as error:
        raise RowError(
            "malformed row", f"{where}: not a JSON object ({error}): {_show(line.decode())}"
        ) from error
    if not isinstance(raw, dict):
        raise RowError("malformed row", f"{where}: not a JSON object: {_show(raw)}")
    return raw


def find_image(raw: dict[str, Any], folder: Path, where: str) -> Path:
    """Where the row's image lies: inside the file's folder, links followed. Raises RowError."""
    name = _get_text(raw, "image", where, "image missing")
    if "\0" in name or Path(name).is_absolute():
        raise RowError(
            "image outside the folder",
            f"{where}: image {_show(name)} is not a path relative to the file's folder",
        )
    # realpath, unlike Path.resolve, also answers for a loop of links.
    home, path = (Path(os.path.realpath(place)) for place in (folder, folder / name))
    if not path.is_relative_to(home):
        raise RowError(
            "image outside the folder",
            f"{where}: image {_show(name)} leads out of {home}; put the image into that folder",
        )
    return path


def parse_row(raw: dict[str, Any], where: str, size: tuple[int, int]) -> ParsedRow:
    """The row, checked against its image's (width, height) in pixels. Raises RowError."""
    task = _parse_choice(raw, "task", TASKS, where, "unknown task")
    split = None
    if raw.get("split") is not None:
        split = _parse_choice(raw, "split", SPLITS, where, "unknown split")
    return ParsedRow(
        task=cast(Task, task),
        split=cast(Split | None, split),
        prompt=_parse_prompt(raw, where),
        truth=_parse_truth(task, raw, where, size),
        source=_get_note(raw, "source", where),
        licence=_get_note(raw, "licence", where),
    )


def _parse_prompt(raw: dict[str, Any], where: str) -> str:
    prompt = _get_text(raw, "prompt", where, "empty prompt")
    found = SPECIAL_TOKEN.search(prompt)
    if found:
        raise RowError(
            "special token in prompt",
            f"{where}: the prompt contains {found.group()!r}, which models read as markup; "
            "remove it, the image is put in by itself",
        )
    return prompt


def _parse_truth(
    task: str, raw: dict[str, Any], where: str, size: tuple[int, int]
) -> Box | str | int:
    if task == "grounding":
        return _parse_box(raw, where, size)
    if task == "counting":
        return _parse_count(raw, where)
    return _get_text(raw, "answer", where, "missing answer")


def _parse_count(raw: dict[str, Any], where: str) -> int:
    answer = raw.get("answer")
    if answer is None:
        raise RowError("missing answer", f"{where}: answer is missing; give a whole number")
    if isinstance(answer, str) and re.fullmatch(r"\s*\d{1,10}\s*", answer, re.ASCII):
        answer = int(answer)
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer <= MAX_COUNT:
        raise RowError(
            "bad count",
            f"{where}: answer {_show(answer)} is not a whole number from 0 to {MAX_COUNT}",
        )
    return answer


def _parse_box(raw: dict[str, Any], where: str, size: tuple[int, int]) -> Box:
    """`box` in pixels where there is one, else `box_norm`; checked in pixels, returned in 0-1."""
    if raw.get("box") is not None:
        key, box = "box", _get_four_numbers(raw, "box", where)
        _check_pixel_frame(raw, box, where, size)
    elif raw.get("box_norm") is not None:
        x1, y1, x2, y2 = _get_four_numbers(raw, "box_norm", where)
        key, box = "box_norm", (x1 * size[0], y1 * size[1], x2 * size[0], y2 * size[1])
    else:
        raise RowError(
            "missing answer", f"{where}: a grounding row needs box ({BOX_FORMAT}) or box_norm (0-1)"
        )
    shown = f"{where}: {key} {_show(raw[key])}"
    if box[2] <= box[0] or box[3] <= box[1]:
        raise RowError("empty box", f"{shown} must have x1 < x2 and y1 < y2 (x1, y1, x2, y2)")
    limits = (*size, *size)
    overshoot = max(max(-v, v - limit) for v, limit in zip(box, limits, strict=True))
    if overshoot > TOLERANCE_PIXELS:
        raise RowError(
            "box outside the image",
            f"{shown} reaches {overshoot:.6g} pixels outside the {size[0]}x{size[1]} image "
            "(upright, after EXIF orientation)",
        )
    inside = [min(max(v, 0.0), float(limit)) for v, limit in zip(box, limits, strict=True)]
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        raise RowError("empty box", f"{shown} lies on the edge of the {size[0]}x{size[1]} image")
    x1, y1, x2, y2 = (v / limit for v, limit in zip(inside, limits, strict=True))
    return x1, y1, x2, y2


def _check_pixel_frame(raw: dict[str, Any], box: Box, where: str, size: tuple[int, int]) -> None:
    """Pixels of this very image? The commonest silent mistake is a box of another convention."""
    box_format = raw.get("box_format", BOX_FORMAT)
    if box_format != BOX_FORMAT:
        raise RowError(
            "unknown box format",
            f"{where}: box_format {_show(box_format)} is not known; write {BOX_FORMAT!r}, "
            "or box_norm instead of box",
        )
    if min(box) >= 0 and max(box) <= 1 and max(size) > 1:
        raise RowError(
            "unknown box format",
            f"{where}: box {_show(raw['box'])} looks like 0-1 numbers; name it box_norm",
        )
    stated = (raw.get("width"), raw.get("height"))
    if None not in stated and stated != size:
        raise RowError(
            "wrong image size",
            f"{where}: width and height say {_show(stated[0])}x{_show(stated[1])} but the image is "
            f"{size[0]}x{size[1]} (upright), so box {_show(raw['box'])} may be of another image",
        )


def _get_four_numbers(raw: dict[str, Any], key: str, where: str) -> Box:
    value = raw[key]
    is_four = isinstance(value, list) and len(value) == 4
    if not is_four or not all(_is_finite_number(item) for item in value):
        raise RowError("bad box", f"{where}: {key} {_show(value)} is not four finite numbers")
    x1, y1, x2, y2 = (float(item) for item in value)
    return x1, y1, x2, y2


def _is_finite_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e12 and math.isfinite(value)  # 1e12: beyond any image, within a float


def _parse_choice(
    raw: dict[str, Any], key: str, choices: tuple[str, ...], where: str, reason: str
) -> str:
    value = raw.get(key)
    if value not in choices:
        said = f"{key} is missing" if value is None else f"{key} {_show(value)} is not known"
        raise RowError(reason, f"{where}: {said}; it is one of {', '.join(choices)}")
    return str(value)


def _get_text(raw: dict[str, Any], key: str, where: str, reason: str) -> str:
    value = raw.get(key)
    if value is None or (isinstance(value, str) and not value.strip()):
        said = "is missing" if value is None else f"{_show(value)} is empty"
        raise RowError(reason, f"{where}: {key} {said}; give a text")
    if not isinstance(value, str):
        raise RowError(reason, f"{where}: {key} {_show(value)} is not a text")
    return _check_unicode(value, key, where)


def _get_note(raw: dict[str, Any], key: str, where: str) -> str:
    value = raw.get(key)
    if value is None:
        return ""
    return _check_unicode(value if isinstance(value, str) else json.dumps(value), key, where)


def _check_unicode(text: str, key: str, where: str) -> str:
    """JSON can spell half a surrogate pair, which no UTF-8 file can hold."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise RowError(
            "malformed row", f"{where}: {key} {_show(text)} contains half a surrogate pair"
        )
    return text


def _show(value: object) -> str:
    """A value for an error sentence: JSON, one line, ASCII, not too long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= MAX_SHOWN_CHARACTERS else text[:MAX_SHOWN_CHARACTERS] + "..."
