"""What a file says besides its pixels: which way is up, and nothing that makes it unreadable.

Pillow reads metadata before pixels and gives the whole image up where a text chunk is long, a
compressed one unfolds beyond its limit, or a segment is cut short. An image that fails so is tried
again without them: chunks are passed over by their lengths and never unfolded, so that a bomb stays
folded. What is said of orientation stays as long as it can be read, EXIF before XMP.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image

# What Pillow raises on damaged bytes, found by feeding them damaged bytes.
DECODE_ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, OverflowError, IndexError, KeyError, TypeError,
    AttributeError, NotImplementedError, struct.error, zlib.error,
)  # fmt: skip
ORIENTATION_TAG = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
JPEG_START = b"\xff\xd8"
JPEG_SCAN, JPEG_APP1, JPEG_ADOBE, JPEG_COMMENT = 0xDA, 0xE1, 0xEE, 0xFE
JPEG_APPS = range(0xE0, 0xF0)
WEBP_BESIDES = {b"ICCP": ("", 0x20), b"EXIF": ("exif", 0x08), b"XMP ": ("xmp", 0x04)}  # name, flag
ADOBE_BYTES = 12  # its colour transform is the last of them; a shorter segment is no Adobe's


def iterate_readings(data: bytes) -> Iterator[bytes]:
    """The encoded image as it is, then with less and less besides its pixels.

    Each is a file of the same format: only EXIF and XMP stay, then XMP alone, then neither. Other
    formats than PNG, JPEG and WebP have one reading.
    """
    yield data
    seen = data
    for kept in (("exif", "xmp"), ("xmp",), ()):
        less = _strip(data, kept)
        if less != seen:
            yield less
            seen = less


def read_orientation(image: Image.Image) -> tuple[int, bool]:
    """(1 to 8 as in EXIF, whether the EXIF data can be read by whoever opens the file)."""
    found: object = None
    is_readable = True
    try:
        found = image.getexif().get(ORIENTATION_TAG)
    except DECODE_ERRORS:
        is_readable = False
    if found is None:
        found = _find_in_xmp(image)
    return (found if isinstance(found, int) and found in TURNS else 1), is_readable


def _find_in_xmp(image: Image.Image) -> int | None:
    xmp = image.info.get("xmp", b"")
    found = XMP_ORIENTATION.search(xmp) if isinstance(xmp, bytes) else None
    return int(found[1]) if found else None


def _strip(data: bytes, kept: tuple[str, ...]) -> bytes:
    if data.startswith(PNG_SIGNATURE):
        return b"".join(_iterate_png(data, kept))
    if data.startswith(JPEG_START):
        return b"".join(_iterate_jpeg(data, kept))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        body = b"WEBP" + b"".join(_iterate_webp(data, kept))
        return b"RIFF" + len(body).to_bytes(4, "little") + body
    return data


def _iterate_png(data: bytes, kept: tuple[str, ...]) -> Iterator[bytes]:
    """The signature and the chunks of pixels, and those that say what is kept."""
    yield PNG_SIGNATURE
    at = len(PNG_SIGNATURE)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length  # length, name and checksum are 4 bytes each
        if name in PNG_PIXELS or _name_png_chunk(name, data[at + 8 : min(end, at + 88)]) in kept:
            yield data[at:end]
        if name == b"IEND":
            return
        at = end


def _name_png_chunk(name: bytes, start: bytes) -> str:
    if name == b"eXIf":
        return "exif"
    if name not in PNG_TEXTS:
        return ""
    keyword = start.partition(b"\0")[0]
    return {b"Raw profile type exif": "exif", b"XML:com.adobe.xmp": "xmp"}.get(keyword, "")


def _iterate_jpeg(data: bytes, kept: tuple[str, ...]) -> Iterator[bytes]:
    """Every segment up to the first scan but application data and comments, then all the rest."""
    yield JPEG_START
    at = len(JPEG_START)
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != JPEG_SCAN:
        marker, length = struct.unpack_from(">xBH", data, at)
        if marker == 0xFF:  # a filling byte before the marker
            at += 1
            continue
        end = at + 2 + length
        body = data[at + 4 : end]
        is_besides = marker in JPEG_APPS or marker == JPEG_COMMENT
        if not is_besides or _name_jpeg_segment(marker, body) in ("colour", *kept):
            yield data[at:end]
        at = end
    yield data[at:]


def _name_jpeg_segment(marker: int, body: bytes) -> str:
    if marker == JPEG_ADOBE and body.startswith(b"Adobe") and len(body) >= ADOBE_BYTES:
        return "colour"  # without it CMYK is inverted and RGB taken for YCbCr
    if marker == JPEG_APP1 and body.startswith(b"Exif\0\0"):
        return "exif"
    if marker == JPEG_APP1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        return "xmp"
    return ""


def _iterate_webp(data: bytes, kept: tuple[str, ...]) -> Iterator[bytes]:
    """Every chunk but metadata, and the head's flags for those that stay."""
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2  # chunks are padded to an even length
        chunk = data[at:end]
        if name == b"VP8X" and length:
            left_out = sum(flag for kind, flag in WEBP_BESIDES.values() if kind not in kept)
            chunk = chunk[:8] + bytes([chunk[8] & ~left_out & 0xFF]) + chunk[9:]
        if name not in WEBP_BESIDES or WEBP_BESIDES[name][0] in kept:
            yield chunk
        at = end
