"""An image that says nothing: mid grey of a given size, so that it takes the same tokens."""

from __future__ import annotations

import io
from functools import lru_cache

from PIL import Image

GREY = (128, 128, 128)
KEPT_SIZES = 256  # images of a night have few


@lru_cache(KEPT_SIZES)
def encode_grey(width: int, height: int) -> bytes:
    """PNG of a grey image, sides in pixels; the same bytes for the same size."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), GREY).save(buffer, format="PNG")
    return buffer.getvalue()
