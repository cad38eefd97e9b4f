"""Images of the store: bytes whose size and format were settled when they were collected."""

from __future__ import annotations

import base64
import io

from PIL import Image

from perpo_core.vision.decoding import STORED_FORMATS, name_format, strict_pillow


def open_stored(data: bytes) -> Image.Image:
    """The image as RGB."""
    with strict_pillow(None):
        return Image.open(io.BytesIO(data), formats=STORED_FORMATS).convert("RGB")


def find_stored_format(data: bytes) -> str:
    """png, jpeg or webp: what ends a file's name, and a media type.

    Raises PIL.UnidentifiedImageError for bytes that are none of them.
    """
    with strict_pillow(None), Image.open(io.BytesIO(data), formats=STORED_FORMATS) as image:
        return name_format(image).lower()


def write_data_url(data: bytes) -> str:
    """The image as text, as browsers and servers of models take it."""
    return f"data:image/{find_stored_format(data)};base64,{base64.b64encode(data).decode()}"
