"""Every mode that Pillow decodes to as 8-bit RGB: alpha over white, deep grey scaled."""

from __future__ import annotations

import numpy as np
from PIL import Image


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB: alpha over white, 16-bit and float grey scaled to 8 bits.

    Raises ValueError for a pixel that is not finite.
    """
    if image.mode.startswith(("I", "F")):
        return _grey_to_8_bits(image).convert("RGB")
    if image.mode in ("PA", "La", "LA", "RGBa", "RGBA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit grey by its full scale; wider integers and floats, which have none, by their range."""
    grey = np.asarray(image).astype(np.float64)
    if not np.isfinite(grey).all():
        raise ValueError("a pixel is not finite")
    low, high = 0.0, 65535.0
    if image.mode == "F" or grey.min() < 0 or grey.max() > 65535:
        low, high = grey.min(), max(grey.max(), grey.min() + 1e-12)
    return Image.fromarray(((grey - low) / (high - low) * 255).round().astype(np.uint8))
