"""Decoding an image that somebody else made: size before pixels, every pixel, upright, RGB."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageFile

from perpo_core.vision.brightness import count_bits
from perpo_core.vision.metadata import DECODE_ERRORS, TURNS, iterate_readings, read_orientation
from perpo_core.vision.modes import to_rgb

# Only decoders that stay in this process: Pillow's EPS reader, for one, starts Ghostscript.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000")
# What browsers show, since the report embeds images as they are.
STORED_FORMATS = ("PNG", "JPEG", "WEBP")
STORED_MODES = ("RGB", "L")  # every reader's plain convert("RGB") gives what read_image gives
_PILLOW_GLOBALS = threading.Lock()


class ImageError(ValueError):
    """Why an image cannot be used: one sentence, and `reason` for the counts."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """An image, and the bytes it came from."""

    image: Image.Image
    """RGB, upright, without metadata."""
    data: bytes
    """Encoded; without some or all metadata where that cannot be read."""
    is_as_is: bool
    """Whoever opens these bytes sees the same image."""
    is_readable: bool
    """Whoever opens these bytes can read what is said besides the pixels."""
    format: str
    """Of FORMATS."""
    num_bits: int
    """As in Brightness."""


def decode(data: bytes, where: str, max_megapixels: float) -> Decoded:
    """The first reading of the bytes that can be decoded, one without unreadable metadata first.

    Raises ImageError: empty, too large, truncated or unreadable, as its pixels alone are.
    """
    if not data:
        raise ImageError("image unreadable", f"{where}: the image file is empty")
    decoded: Decoded | None = None
    failure: ImageError | None = None
    with strict_pillow(max_megapixels):
        for reading in iterate_readings(data):
            try:
                found = _decode(reading, where, max_megapixels)
            except ImageError as error:
                failure = error
                continue
            decoded = decoded or found
            if found.is_readable:
                return found
    if decoded is None:
        assert failure is not None
        raise failure
    return decoded


def _decode(data: bytes, where: str, max_megapixels: float) -> Decoded:
    image = _open(data, where)
    _check_size(image, where, max_megapixels)
    source_format = name_format(image)
    if not isinstance(image.info.get("xmp", b""), bytes):
        del image.info["xmp"]  # of any type in a TIFF, and Pillow looks for bytes in it
    tile = str(image.tile)
    try:
        image.load()
    except DECODE_ERRORS as error:
        raise ImageError(
            "image truncated",
            f"{where}: the image is truncated or damaged and cannot be decoded "
            f"({error}); copy it again",
        ) from error
    orientation, is_readable = read_orientation(image)
    is_as_is = (
        source_format in STORED_FORMATS
        and image.mode in STORED_MODES
        and "transparency" not in image.info
        and orientation == 1
        and is_readable
    )
    try:
        rgb = to_rgb(image.transpose(TURNS[orientation]) if orientation != 1 else image)
    except DECODE_ERRORS as error:
        raise ImageError(
            "image unreadable",
            f"{where}: the image (mode {image.mode}) cannot be made RGB ({error}); "
            "save it again as PNG or JPEG",
        ) from error
    rgb.info = {}  # Pillow would write profiles and comments of other pixels into whatever is saved
    num_bits = count_bits(image, tile)
    return Decoded(rgb, data, is_as_is, is_readable, source_format, num_bits)


def name_format(image: Image.Image) -> str:
    """Of an open file, one of FORMATS."""
    # MPO, a JPEG with more behind it, is a name that Pillow gives and does not open by.
    return "JPEG" if image.format == "MPO" else image.format or ""


def _open(data: bytes, where: str) -> ImageFile.ImageFile:
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


@contextmanager
def strict_pillow(max_megapixels: float | None) -> Iterator[None]:
    """Our limit in place of Pillow's own, and no half-decoded images; both are Pillow globals.

    None is no limit. Pillow's warnings about metadata are not shown.
    """
    with _PILLOW_GLOBALS, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        kept = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
        # Pillow raises at twice this, before it decodes; the exact limit is checked by us.
        Image.MAX_IMAGE_PIXELS = None if max_megapixels is None else int(max_megapixels * 1e6) + 1
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = kept
