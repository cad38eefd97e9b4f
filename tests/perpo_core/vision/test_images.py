"""Images from outside: what is refused, in which words, and that the rest becomes upright RGB."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from perpo_core.vision.images import ImageError, encode_for_store, read_image
from perpo_core.vision.stored import find_stored_format, open_stored, write_data_url

WHERE = "cases.jsonl row 3"
RNG = np.random.default_rng(0)


def _encode(image: Image.Image, image_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=image_format, **options)
    return buffer.getvalue()


def _noise(width: int = 40, height: int = 20) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def _forge_png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost no pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image unreadable"),
        (b"this is no image at all", "image unreadable"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n", "image unreadable"),
        (_encode(_noise())[:-200], "image truncated"),
        (_encode(_noise(200, 200), "JPEG")[:-4000], "image truncated"),
        (_encode(_noise(200, 200), "WEBP")[:-4000], "image truncated"),
        (_encode(_noise(200, 200), "TIFF")[:-4000], "image truncated"),
        (_forge_png(0, 10), "image unreadable"),
    ],
)
def test_bad_bytes_are_refused_in_one_sentence(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(data, WHERE, 100)
    assert str(caught.value).startswith(WHERE)
    assert "\n" not in str(caught.value)
    # WebP and TIFF say so when they open, the others when they decode; both are refused.
    assert caught.value.reason in (reason, "image unreadable")


def test_truncation_is_seen_even_where_pillow_was_told_to_ignore_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageError, match="truncated"):
        read_image(_encode(_noise(200, 200), "JPEG")[:-4000], WHERE, 100)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True  # put back


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"row 3: there is no image file .*nowhere\.png"):
        read_image(tmp_path / "nowhere.png", WHERE, 100)


@pytest.mark.parametrize("side", [(25_000, 20_000), (12_000, 9_000), (10_001, 10_000)])
def test_too_many_megapixels_are_refused_without_decoding(
    side: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(self: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", explode)
    with pytest.raises(ImageError) as caught:
        read_image(_forge_png(*side), WHERE, 100)
    assert caught.value.reason == "image too large"
    assert str(caught.value).startswith(WHERE)


def test_our_limit_stands_in_place_of_pillows_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_image(_encode(_noise(40, 20)), WHERE, 1).size == (40, 20)
    assert Image.MAX_IMAGE_PIXELS == 100  # put back


def test_a_file_too_long_for_any_allowed_image_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    with path.open("wb") as handle:
        handle.truncate(80 << 20)  # a hole
    with pytest.raises(ImageError, match="has 83886080 bytes"):
        read_image(path, WHERE, 0.1)


def test_alpha_lies_over_white_and_palettes_and_cmyk_keep_their_colours() -> None:
    half_red = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert read_image(_encode(half_red), WHERE, 1).getpixel((0, 0)) == (255, 127, 127)
    clear_grey = Image.new("LA", (2, 2), (7, 0))
    assert read_image(_encode(clear_grey), WHERE, 1).getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("RGB", (2, 2), (10, 200, 30)).quantize(2)
    assert read_image(_encode(palette), WHERE, 1).getpixel((0, 0)) == (10, 200, 30)
    clear_palette = _encode(palette, transparency=palette.getpixel((0, 0)))
    assert read_image(clear_palette, WHERE, 1).getpixel((0, 0)) == (255, 255, 255)
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    red, green, blue = np.asarray(read_image(_encode(cmyk, "JPEG"), WHERE, 1))[4, 4]
    assert red > 230 and green < 60 and blue < 60
    bilevel = Image.new("1", (2, 2), 1)
    assert read_image(_encode(bilevel), WHERE, 1).getpixel((0, 0)) == (255, 255, 255)


def test_deep_grey_is_scaled_not_clipped() -> None:
    ramp = np.array([[0, 32768, 65535]], dtype=np.uint16)
    image = read_image(_encode(Image.fromarray(ramp)), WHERE, 1)
    assert np.asarray(image)[0, :, 0].tolist() == [0, 128, 255]
    floats = np.array([[-1.0, 0.0, 1.0]], dtype=np.float32)
    image = read_image(_encode(Image.fromarray(floats), "TIFF"), WHERE, 1)
    assert np.asarray(image)[0, :, 0].tolist() == [0, 128, 255]


def test_exif_orientation_is_applied_and_does_not_survive() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    data = _encode(_noise(40, 20), "JPEG", exif=exif)
    assert read_image(data, WHERE, 1).size == (20, 40)
    stored = encode_for_store(data, WHERE, 1, 2048)
    assert (stored.width, stored.height) == (20, 40)
    reopened = Image.open(io.BytesIO(stored.data))
    assert reopened.format == "JPEG"
    assert reopened.size == (20, 40)
    assert not reopened.getexif().get(0x0112)


@pytest.mark.parametrize(
    ("image", "image_format"),
    [(_noise(), "PNG"), (_noise(), "JPEG"), (_noise().convert("L"), "PNG"), (_noise(), "WEBP")],
)
def test_bytes_that_need_no_change_are_kept(image: Image.Image, image_format: str) -> None:
    data = _encode(image, image_format)
    assert encode_for_store(data, WHERE, 1, 40).data == data
    np.testing.assert_array_equal(open_stored(data), read_image(data, WHERE, 1))


def test_a_jpeg_with_a_second_picture_behind_it_is_a_jpeg() -> None:
    data = _encode(_noise(), "MPO", save_all=True, append_images=[_noise()])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert encode_for_store(data, WHERE, 1, 40).data == data
    assert open_stored(data).size == (40, 20)
    assert find_stored_format(data) == "jpeg"
    assert write_data_url(data).startswith("data:image/jpeg;base64,/9j/")
    assert Image.open(io.BytesIO(encode_for_store(data, WHERE, 1, 20).data)).format == "JPEG"


@pytest.mark.parametrize(
    ("image", "image_format", "stored_format"),
    [
        (_noise().convert("RGBA"), "PNG", "PNG"),
        (_noise().convert("1"), "PNG", "PNG"),
        (_noise().quantize(8), "GIF", "PNG"),
        (_noise(), "TIFF", "PNG"),
        (_noise().convert("CMYK"), "JPEG", "JPEG"),
    ],
)
def test_anything_else_is_stored_as_rgb_of_its_kind(
    image: Image.Image, image_format: str, stored_format: str
) -> None:
    data = _encode(image, image_format)
    stored = encode_for_store(data, WHERE, 1, 2048)
    reopened = Image.open(io.BytesIO(stored.data))
    assert (reopened.format, reopened.mode) == (stored_format, "RGB")
    if stored_format == "PNG":
        np.testing.assert_array_equal(reopened, read_image(data, WHERE, 1))


def test_long_images_are_scaled_down_in_shape_and_remember_their_size() -> None:
    stored = encode_for_store(_encode(_noise(400, 100)), WHERE, 1, 100)
    assert (stored.width, stored.height) == (100, 25)
    assert (stored.read_width, stored.read_height) == (400, 100)
    assert encode_for_store(_encode(_noise(400, 1)), WHERE, 1, 16).height == 1
