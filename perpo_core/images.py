"""Reading images that somebody else made: size before pixels, everything decoded, always RGB.

A header is trusted for nothing but a refusal: an image that claims more megapixels than allowed is
refused before one of its pixels is decoded; every other image is decoded to its end, since a
truncated file has a perfect header. EXIF orientation is applied, alpha is laid over white.
Left out: colour profiles, and further frames of animations (the first one is the image).
"""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, ImageOps

# Only decoders that stay in this process: Pillow's EPS reader, for one, starts Ghostscript.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
# What browsers show, since the report embeds images as they are; MPO is a JPEG with more behind it.
STORED_FORMATS = ("PNG", "JPEG", "MPO", "WEBP")
STORED_MODES = ("RGB", "L")  # every reader's plain convert("RGB") gives what read_image gives
JPEG_QUALITY = 95
ORIENTATION_TAG = 0x0112
MAX_BYTES_PER_PIXEL = 8  # 16-bit RGBA without compression
FREE_BYTES = 1 << 20  # headers and metadata of a small image
# What Pillow's decoders raise on damaged bytes, found by feeding them damaged bytes.
DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, OverflowError, IndexError, KeyError, TypeError,
    AttributeError, NotImplementedError, struct.error, zlib.error,
)  # fmt: skip
_PILLOW_GLOBALS = threading.Lock()


class ImageError(ValueError):
    """Why an image cannot be used: one sentence, and `reason` for the counts."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class StoredImage:
    """Encoded bytes as they go into the store, and the size in pixels they decode to."""

    data: bytes
    width: int
    height: int
    read_width: int
    """Of the image as received, after EXIF orientation; pixel boxes are in this frame."""
    read_height: int


def read_image(data: bytes | Path, where: str, max_megapixels: float) -> Image.Image:
    """The image as RGB, upright. `where` (file and row) opens every error sentence.

    Raises ImageError: missing, too large, truncated or unreadable.
    """
    return _read(load_bytes(data, where, max_megapixels), where, max_megapixels)[0]


def encode_for_store(
    data: bytes | Path, where: str, max_megapixels: float, max_side: int
) -> StoredImage:
    """The image ready for the store: its own bytes when they need no change, else re-encoded.

    Changed are: a side longer than `max_side` pixels (scaled down), a turned EXIF orientation,
    modes other than RGB and grey, formats browsers do not show. JPEG stays JPEG (quality 95),
    everything else becomes PNG. Raises ImageError as read_image does.
    """
    encoded = load_bytes(data, where, max_megapixels)
    image, is_as_is, source_format = _read(encoded, where, max_megapixels)
    read_width, read_height = image.size
    if is_as_is and max(image.size) <= max_side:
        return StoredImage(encoded, read_width, read_height, read_width, read_height)
    image = scale_down(image, max_side)
    buffer = io.BytesIO()
    if source_format in ("JPEG", "MPO"):
        image.save(buffer, format="JPEG", quality=JPEG_QUALITY)
    else:
        image.save(buffer, format="PNG", compress_level=6)
    return StoredImage(buffer.getvalue(), *image.size, read_width, read_height)


def open_stored(data: bytes) -> Image.Image:
    """An image of the store as RGB; its size was settled when it was collected."""
    with _strict_pillow(None):
        return Image.open(io.BytesIO(data), formats=STORED_FORMATS).convert("RGB")


def scale_down(image: Image.Image, max_side: int) -> Image.Image:
    """The image with its longer side at most `max_side` pixels, its shape kept."""
    scale = max_side / max(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def load_bytes(data: bytes | Path, where: str, max_megapixels: float) -> bytes:
    """A file's bytes; raises ImageError where it is missing or larger than any allowed image."""
    if isinstance(data, bytes):
        return data
    if not os.path.isfile(data):  # unlike Path.is_file, False also for a name too long to exist
        raise ImageError("image missing", f"{where}: there is no image file {data}")
    limit = int(max_megapixels * 1e6 * MAX_BYTES_PER_PIXEL) + FREE_BYTES
    if data.stat().st_size > limit:
        raise ImageError(
            "image too large",
            f"{where}: image {data} has {data.stat().st_size} bytes, more than any image of "
            f"{max_megapixels:g} megapixels; scale it down or raise source.max_image_megapixels",
        )
    return data.read_bytes()


def _read(data: bytes, where: str, max_megapixels: float) -> tuple[Image.Image, bool, str]:
    """(RGB upright image, whether the bytes need no change, format)."""
    if not data:
        raise ImageError("image unreadable", f"{where}: the image file is empty")
    with _strict_pillow(max_megapixels):
        image = _open(data, where)
        _check_size(image, where, max_megapixels)
        source_format = image.format or ""
        try:
            image.load()
        except DECODE_ERRORS as error:
            raise ImageError(
                "image truncated",
                f"{where}: the image is truncated or damaged and cannot be decoded "
                f"({error}); copy it again",
            ) from error
        try:
            turned = image.getexif().get(ORIENTATION_TAG, 1) not in (0, 1)
            is_as_is = (
                source_format in STORED_FORMATS
                and image.mode in STORED_MODES
                and "transparency" not in image.info
                and not turned
            )
            upright = ImageOps.exif_transpose(image) if turned else image
            return _to_rgb(upright), is_as_is, source_format
        except DECODE_ERRORS as error:
            raise ImageError(
                "image unreadable",
                f"{where}: the image (mode {image.mode}) cannot be made upright RGB ({error}); "
                "save it again as PNG or JPEG",
            ) from error


def _open(data: bytes, where: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageError("image too large", f"{where}: {error}; scale the image down") from error
    except DECODE_ERRORS as error:
        raise ImageError(
            "image unreadable",
            f"{where}: the file is no image of a known format ({', '.join(FORMATS)}); "
            "save it as PNG or JPEG",
        ) from error


def _check_size(image: Image.Image, where: str, max_megapixels: float) -> None:
    width, height = image.size
    if min(width, height) < 1:
        raise ImageError("image unreadable", f"{where}: the image has size {width}x{height}")
    if width * height > max_megapixels * 1e6:
        raise ImageError(
            "image too large",
            f"{where}: the image has {width}x{height} = {width * height / 1e6:.1f} megapixels, "
            f"more than the {max_megapixels:g} allowed; scale it down or raise "
            "source.max_image_megapixels",
        )


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow mode as RGB: alpha over white, 16-bit and float grey scaled to 8 bits."""
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


@contextmanager
def _strict_pillow(max_megapixels: float | None) -> Iterator[None]:
    """Our limit in place of Pillow's own, and no half-decoded images; both are Pillow globals.

    None is no limit.
    """
    with _PILLOW_GLOBALS, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        kept = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        # Pillow raises at twice this, before it decodes; the exact limit is checked by us.
        Image.MAX_IMAGE_PIXELS = None if max_megapixels is None else int(max_megapixels * 1e6) + 1
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = kept
