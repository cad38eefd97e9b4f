"""How an image looks on the whole: dark, bright or flat, from one count of its decoded pixels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

from PIL import Image

# What Pillow's decoders call 16 bits a channel: "RGB;16B" in PNG and TIFF, a maximum in PPM.
DEEP = re.compile(r";16|\b65535\b")
OUTLIERS = 0.001  # of the pixels of a deep image: hot pixels of a sensor
MAX_16_BITS = 65535


@dataclass(frozen=True)
class Brightness:
    """Brightness in 0-255, as a model is given it."""

    darkest: int
    """Of all channels; of deep images, outliers aside."""
    brightest: int
    num_bits: int
    """8 or 16 a channel as encoded; 0: numbers without a full scale, scaled by their own range."""
    colour: tuple[int, int, int] | None
    """Of every pixel; None where they differ."""


def count_bits(image: Image.Image, tile: str) -> int:
    """Bits a channel of a loaded image; `tile` is what Pillow was about to decode, as text.

    Pillow keeps no more than 8 of 16 in colour, and says so nowhere else.
    """
    if image.mode == "F":
        return 0
    if image.mode.startswith("I"):
        low, high = image.getextrema()
        return 16 if low >= 0 and high <= MAX_16_BITS else 0  # type: ignore[operator]
    return 16 if DEEP.search(tile) else 8


def measure_brightness(rgb: Image.Image, num_bits: int) -> Brightness:
    """Of an RGB image that was encoded with so many bits a channel."""
    counts = rgb.histogram()
    bands = [counts[start : start + 256] for start in (0, 256, 512)]
    outliers = 0 if num_bits == 8 else int(OUTLIERS * rgb.width * rgb.height)
    colours = [[value for value, count in enumerate(band) if count] for band in bands]
    is_flat = all(len(band) == 1 for band in colours)
    return Brightness(
        darkest=min(_find_first(band, outliers) for band in bands),
        brightest=max(255 - _find_first(band[::-1], outliers) for band in bands),
        num_bits=num_bits,
        colour=(colours[0][0], colours[1][0], colours[2][0]) if is_flat else None,
    )


def _find_first(counts: list[int], outliers: int) -> int:
    """The first value that more pixels than the outliers have, or have passed."""
    return next(value for value, count in enumerate(accumulate(counts)) if count > outliers)
