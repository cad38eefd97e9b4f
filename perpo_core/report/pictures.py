"""Pictures and texts as a page can show them safely: small data URLs, visible control characters.

Pictures are always encoded anew: nothing of the original file (EXIF, GPS, trailing bytes) reaches
the page.
"""

from __future__ import annotations

import base64
import io
import re
from dataclasses import dataclass
from typing import Any

from PIL import Image

from perpo_core.vision.images import read_image, scale_down

MAX_SIDE = 320  # pixels, longer side
PNG_LIMIT_BYTES = 24_000  # larger ones (photos) become JPEG
JPEG_QUALITY = 82
CRISP_SIDE = 160  # pixels; images up to this are enlarged without smoothing
DISPLAY_SIDE = 236  # CSS pixels, longer side on the page
TEXT_LIMIT = 240  # characters
PROMPT_LIMIT = 400
LINE_END = "\u21b5"
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f]")
BIDI_CONTROL = re.compile("[\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Picture:
    """An image for the page."""

    url: str
    width: int
    height: int
    """Of the stored image, pixels."""
    display_width: int
    """CSS pixels; the longer side has the same length in every card."""
    crisp: bool


def build_picture(encoded: bytes, where: str, max_megapixels: float) -> Picture:
    """A small picture of encoded image bytes of any format, mode and orientation."""
    image = read_image(encoded, where, max_megapixels)
    width, height = image.size
    display_width = max(24, round(DISPLAY_SIDE * width / max(image.size)))
    url = _encode_data_url(scale_down(image, MAX_SIDE))
    return Picture(url, width, height, display_width, crisp=max(image.size) <= CRISP_SIDE)


def _encode_data_url(image: Image.Image) -> str:
    buffer, mime = io.BytesIO(), "image/png"
    image.save(buffer, "PNG", optimize=True)
    if buffer.tell() > PNG_LIMIT_BYTES:
        buffer, mime = io.BytesIO(), "image/jpeg"
        image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def show_text(text: str, limit: int = TEXT_LIMIT) -> str:
    """Text on one line: line ends as a sign, control characters visible, long text cut."""
    return show_lines(text, limit).replace("\n", LINE_END)


def show_lines(text: str, limit: int) -> str:
    """Text with control characters made visible and long text cut."""
    shown = CONTROL.sub(lambda found: _picture_of(found.group()), text.replace("\r\n", "\n"))
    shown = BIDI_CONTROL.sub("\ufffd", shown)  # they could reorder the text around them
    return shown if len(shown) <= limit else f"{shown[:limit]}\u2026 (+{len(shown) - limit:,})"


def _picture_of(control: str) -> str:
    """The visible Unicode stand-in of a C0 control character or DEL."""
    return "\u2421" if control == "\x7f" else chr(0x2400 + ord(control))


def show_prompt(messages: list[dict[str, Any]]) -> str:
    """The text parts of a prompt; roles are named where there is more than one message."""
    lines = []
    for message in messages:
        text = " ".join(part["text"] for part in message["content"] if part["text"])
        lines.append(f"{message['role']}: {text}" if len(messages) > 1 else text)
    return show_lines("\n".join(lines), PROMPT_LIMIT)
