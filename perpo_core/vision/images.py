"""Reading images that somebody else made: size before pixels, everything decoded, always RGB.

A header is trusted for nothing but a refusal: an image that claims more megapixels than allowed is
refused before one of its pixels is decoded; every other image is decoded to its end, since a
truncated file has a perfect header. EXIF orientation is applied, alpha is laid over white, and no
metadata makes an image unreadable (metadata.py).
Left out: colour profiles, and further frames of animations (the first one is the image).
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from perpo_core.vision.brightness import Brightness, measure_brightness
from perpo_core.vision.decoding import ImageError, decode

__all__ = [
    "ImageError", "StoredImage", "build_stored", "compute_scaled_size", "encode_for_store",
    "hash_pixels", "load_bytes", "measure_image", "read_image", "scale_down",
]  # fmt: skip

JPEG_QUALITY = 95
MAX_BYTES_PER_PIXEL = 8  # 16-bit RGBA without compression
HASHED_PIXELS = 1 << 20  # copied at a time, so that a large image is not held twice
FREE_BYTES = 64 << 20  # headers and metadata, however small the image


@dataclass(frozen=True)
class StoredImage:
    """Encoded bytes as they go into the store, and the size in pixels they decode to."""

    data: bytes
    """Empty where the store has them."""
    image_hash: str
    """sha256 of these bytes."""
    width: int
    height: int
    read_width: int
    """Of the image as received, after EXIF orientation; pixel boxes are in this frame."""
    read_height: int
    pixels_hash: str
    """hash_pixels of the image as received."""


def read_image(data: bytes | Path, where: str, max_megapixels: float) -> Image.Image:
    """The image as RGB, upright. `where` (file and row) opens every error sentence.

    Raises ImageError: missing, too large, truncated or unreadable.
    """
    return decode(load_bytes(data, where, max_megapixels), where, max_megapixels).image


def measure_image(data: bytes, where: str, max_megapixels: float) -> tuple[Image.Image, Brightness]:
    """The image as read_image gives it, and how bright it is."""
    decoded = decode(data, where, max_megapixels)
    return decoded.image, measure_brightness(decoded.image, decoded.num_bits)


def encode_for_store(
    data: bytes | Path, where: str, max_megapixels: float, max_side: int
) -> StoredImage:
    """The image ready for the store: its own bytes when they need no change, else re-encoded.

    Changed are: a side longer than `max_side` pixels (scaled down), a turned EXIF orientation,
    modes other than RGB and grey, formats browsers do not show. JPEG stays JPEG (quality 95),
    everything else becomes PNG. Metadata that Pillow cannot read is cut out, the pixels as they
    are. Raises ImageError as read_image does.
    """
    decoded = decode(load_bytes(data, where, max_megapixels), where, max_megapixels)
    pixels_hash = hash_pixels(decoded.image)
    if decoded.is_as_is and max(decoded.image.size) <= max_side:
        return build_stored(decoded.data, decoded.image.size, decoded.image.size, pixels_hash)
    image = scale_down(decoded.image, max_side)
    buffer = io.BytesIO()
    if decoded.format == "JPEG":
        image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    else:
        image.save(buffer, format="PNG", compress_level=6)
    return build_stored(buffer.getvalue(), image.size, decoded.image.size, pixels_hash)


def build_stored(
    data: bytes, size: tuple[int, int], read_size: tuple[int, int], pixels_hash: str
) -> StoredImage:
    """Bytes for the store with what is known of them."""
    return StoredImage(data, hashlib.sha256(data).hexdigest(), *size, *read_size, pixels_hash)


def hash_pixels(image: Image.Image) -> str:
    """sha256 over size and pixels of an RGB image: the same for every file that shows the same.

    File format, compression without loss and metadata are no part of it.
    """
    width, height = image.size
    digest = hashlib.sha256(f"{width}x{height}".encode())
    rows = max(1, HASHED_PIXELS // width)
    for top in range(0, height, rows):
        digest.update(image.crop((0, top, width, min(top + rows, height))).tobytes())
    return digest.hexdigest()


def scale_down(image: Image.Image, max_side: int) -> Image.Image:
    """The image with its longer side at most `max_side` pixels, its shape kept."""
    size = compute_scaled_size(image.size, max_side)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def compute_scaled_size(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """(width, height) with the longer side at most `max_side`, each side at least 1.

    >>> compute_scaled_size((400, 9000), 2048)
    (91, 2048)
    """
    scale = min(1.0, max_side / max(size))
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


def load_bytes(data: bytes | Path, where: str, max_megapixels: float) -> bytes:
    """A file's bytes; raises ImageError where it is missing or larger than any allowed image."""
    if isinstance(data, bytes):
        return data
    if not os.path.isfile(data):  # unlike Path.is_file, False also for a name too long to exist
        shown = data if str(data).isprintable() else ascii(str(data))
        raise ImageError("image missing", f"{where}: there is no image file {shown}")
    limit = int(max_megapixels * 1e6 * MAX_BYTES_PER_PIXEL) + FREE_BYTES
    if data.stat().st_size > limit:
        raise ImageError(
            "image too large",
            f"{where}: image {data} has {data.stat().st_size} bytes, more than any image of "
            f"{max_megapixels:g} megapixels; scale it down or raise source.max_image_megapixels",
        )
    return data.read_bytes()
