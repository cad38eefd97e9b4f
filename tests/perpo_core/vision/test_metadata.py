"""Metadata: whatever a file says besides its pixels, the image is read, upright, and stored so that
anybody can open it.
"""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from perpo_core.vision.images import encode_for_store, read_image
from perpo_core.vision.stored import open_stored

WHERE = "cases.jsonl row 3"
NOISE = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
TURNED = Image.Exif()
TURNED[0x0112] = 6
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\0"  # of a JPEG segment
XMP_CHUNK_HEAD = b"XML:com.adobe.xmp\0\0\0\0\0"
BOMB = zlib.compress(bytes(2 << 20), 9)


def _encode(image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, format=image_format, **options)
    return buffer.getvalue()


def _chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    checksum = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def _png(*chunks: bytes, last: bytes = b"") -> bytes:
    """A PNG with chunks between its header and its pixels, and after the pixels."""
    plain = _encode("PNG")
    return plain[:33] + b"".join(chunks) + plain[33:-12] + last + plain[-12:]


def _jpeg(*segments: tuple[int, bytes], **options: object) -> bytes:
    plain = _encode("JPEG", **options)
    made = [struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments]
    return plain[:2] + b"".join(made) + plain[2:]


def _text(keyword: str, value: bytes) -> bytes:
    return _chunk(b"zTXt", keyword.encode() + b"\0\0" + zlib.compress(value))


def _webp(exif: bytes) -> bytes:
    return _encode("WEBP", lossless=True, exif=exif, icc_profile=b"no profile")


ODD: dict[str, Callable[[], bytes]] = {
    "PNG: text unfolds beyond the limit": lambda: _png(_chunk(b"zTXt", b"k\0\0" + BOMB)),
    "PNG: international text": lambda: _png(_chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB)),
    "PNG: text after the pixels": lambda: _png(last=_chunk(b"zTXt", b"k\0\0" + BOMB)),
    "PNG: too much text in all": lambda: _png(*[_chunk(b"tEXt", b"k\0" + bytes(1 << 20))] * 66),
    "PNG: large colour profile": lambda: _png(_chunk(b"iCCP", b"k\0\0" + BOMB)),
    "PNG: empty colour profile": lambda: _png(_chunk(b"iCCP", b"")),
    "PNG: unknown compression": lambda: _png(_chunk(b"zTXt", b"k\0\7x")),
    "PNG: wrong checksum": lambda: _png(_chunk(b"tEXt", b"k\0v", checksum=0)),
    "PNG: short gamma": lambda: _png(_chunk(b"gAMA", b"")),
    "PNG: no EXIF data": lambda: _png(_chunk(b"eXIf", b"garbage")),
    "PNG: no EXIF in text": lambda: _png(_text("Raw profile type exif", b"garb\nage\n\nzz")),
    "PNG: broken animation": lambda: _png(_chunk(b"acTL", b"")),
    "JPEG: no EXIF data": lambda: _jpeg((0xE1, b"Exif\0\0garbage")),
    "JPEG: short profile": lambda: _jpeg((0xE2, b"ICC_PROFILE\0")),
    "JPEG: short resources": lambda: _jpeg((0xED, b"Photoshop 3.0\0008BIM\1\2")),
    "JPEG: short header": lambda: _jpeg((0xE0, b"JFIF\0")),
    "JPEG: short Adobe segment": lambda: _jpeg((0xEE, b"Adobe")),
    "JPEG: megabytes of XMP": lambda: _jpeg(*[(0xE1, XMP_HEAD + bytes(60_000))] * 50),
    "WEBP: no EXIF data": lambda: _webp(b"garbage"),
    "WEBP: megabytes of EXIF": lambda: _webp(b"Exif\0\0" + bytes(5 << 20)),
    "TIFF: no profile": lambda: _encode("TIFF", icc_profile=b"no profile" * 200_000),
    "TIFF: XMP of another type": lambda: _encode("TIFF", tiffinfo={700: XMP}).replace(
        struct.pack("<HH", 700, 1), struct.pack("<HH", 700, 3)
    ),
}  # fmt: skip


def _open_elsewhere(data: bytes) -> Image.Image:
    """What datasets and TRL hand on."""
    image: Image.Image = datasets.Image().decode_example({"bytes": data, "path": None})
    return image.convert("RGB")


@pytest.mark.parametrize("name", ODD)
def test_metadata_makes_no_image_unreadable(name: str) -> None:
    data, image_format = ODD[name](), name.partition(":")[0]
    plain = Image.open(io.BytesIO(_encode(image_format, **LOSSLESS.get(image_format, {}))))
    expected = np.asarray(plain.convert("RGB"))
    stored = encode_for_store(data, WHERE, 1, 2048)
    assert (stored.width, stored.height) == (40, 20)
    readings = read_image(data, WHERE, 1), open_stored(stored.data), _open_elsewhere(stored.data)
    for reading in readings:
        np.testing.assert_array_equal(reading, expected)
    kept = Image.open(io.BytesIO(stored.data)).format
    assert kept == {"TIFF": "PNG"}.get(image_format, image_format)


LOSSLESS: dict[str, dict[str, bool]] = {"WEBP": {"lossless": True}}
UPRIGHT = np.rot90(NOISE, -1)


@pytest.mark.parametrize(
    "data",
    [
        _png(_chunk(b"eXIf", TURNED.tobytes()[6:]), _chunk(b"zTXt", b"k\0\0" + BOMB)),
        _png(_chunk(b"zTXt", b"k\0\0" + BOMB), _chunk(b"iTXt", XMP_CHUNK_HEAD + XMP)),
        _png(_chunk(b"eXIf", b"garbage"), _chunk(b"iTXt", XMP_CHUNK_HEAD + XMP)),
        _png(_text("Raw profile type exif", b"\nexif\n 1\n" + TURNED.tobytes().hex().encode()),
             _chunk(b"gAMA", b"")),
        _encode("WEBP", lossless=True, exif=b"garbage", xmp=XMP),
        _encode("WEBP", lossless=True, exif=TURNED, icc_profile=bytes(3 << 20)),
        _encode("TIFF", tiffinfo={274: 6, 700: bytes(3 << 20)}),
    ],
)  # fmt: skip
def test_orientation_is_applied_wherever_it_can_be_read(data: bytes) -> None:
    np.testing.assert_array_equal(read_image(data, WHERE, 1), UPRIGHT)
    stored = encode_for_store(data, WHERE, 1, 2048)
    np.testing.assert_array_equal(_open_elsewhere(stored.data), UPRIGHT)


@pytest.mark.parametrize(
    "segments",
    [
        [(0xE1, TURNED.tobytes()), (0xE2, b"ICC_PROFILE\0")],
        [(0xE1, XMP_HEAD + XMP), (0xED, b"Photoshop 3.0\0008BIM\1\2")],
        [(0xE1, XMP_HEAD + XMP), (0xE1, b"Exif\0\0garbage")],
    ],
)
def test_orientation_of_a_jpeg(segments: list[tuple[int, bytes]]) -> None:
    assert read_image(_jpeg(*segments), WHERE, 1).size == (20, 40)
    assert encode_for_store(_jpeg(*segments), WHERE, 1, 2048).width == 20


def test_orientations_that_do_not_exist_turn_nothing() -> None:
    for value in (0, 9, 65535):
        exif = Image.Exif()
        exif[0x0112] = value
        data = _encode("JPEG", exif=exif)
        assert encode_for_store(data, WHERE, 1, 2048).data == data


def test_a_bomb_stays_folded() -> None:
    folded = zlib.compress(bytes(256 << 20), 9)
    data = _png(*[_chunk(b"zTXt", b"k\0\0" + folded)] * 4)
    tracemalloc.start()
    encode_for_store(data, WHERE, 1, 2048)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_cmyk_keeps_its_colours_without_the_rest() -> None:
    buffer = io.BytesIO()
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(buffer, format="JPEG")
    data = buffer.getvalue()
    odd = data[:2] + b"\xff\xe2\0\x0eICC_PROFILE\0" + data[2:]
    np.testing.assert_array_equal(read_image(odd, WHERE, 1), read_image(data, WHERE, 1))


def test_profiles_of_other_pixels_are_not_stored() -> None:
    profile = np.random.default_rng(0).bytes(2 << 20)
    data = _encode("TIFF", icc_profile=profile, dpi=(300, 300))
    stored = encode_for_store(data, WHERE, 1, 2048).data
    assert len(stored) < 10_000
    np.testing.assert_array_equal(_open_elsewhere(stored), NOISE)


def test_metadata_counts_for_nothing_where_images_are_to_be_small(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(_png(_chunk(b"tEXt", b"k\0" + bytes(3 << 20))))
    assert read_image(path, WHERE, 0.001).size == (40, 20)
