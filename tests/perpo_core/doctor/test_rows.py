"""What doctor says of rows that are read well and mean something else: scaled images, dark images,
boxes of another convention.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from perpo_core.doctor.source import check_source
from schemas.config import RefreshConfig
from tests.perpo_core.cases import write_source

COUNT = {"task": "counting", "prompt": "How many?", "answer": 1}
OCR = {"task": "ocr", "prompt": "Read.", "answer": "a line"}
WHERE = {"task": "grounding", "prompt": "Where?"}


def _doctor(
    folder: Path, rows: Sequence[Any], images: dict[str, Any], **settings: Any
) -> list[str]:
    """The warnings about rows and images of a source with these images (Pillow's or bytes)."""
    source = write_source(folder / "data", rows, num_images=0, **settings)
    for name, image in images.items():
        path = folder / "data" / name
        path.write_bytes(image) if isinstance(image, bytes) else image.save(path)
    config = RefreshConfig(store=folder / "store", source=source)
    return [
        finding.what.removeprefix("source: ")
        for finding in check_source(config)
        if finding.level == "warning" and "cases.jsonl row" in finding.what
    ]


def _gradient(width: int, height: int) -> Image.Image:
    """From left to right, and quickly written however large."""
    return Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90).resize((width, height))


# --- scaled down --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "size", "words"),
    [
        (OCR, (400, 9000), "is scaled from 400x9000 to 91x2048, text becomes illegible"),
        (OCR, (9000, 48), "is scaled from 9000x48 to 2048x11, text becomes illegible"),
        (OCR | {"answer": "word " * 12_000}, (3000, 4000), "to 1536x2048, text becomes illegible"),
        (COUNT, (9000, 200), "is scaled from 9000x200 to 2048x46, hardly anything can be seen"),
        (COUNT, (20_000, 1), "is scaled from 20000x1 to 2048x1, hardly anything can be seen"),
        (WHERE | {"box": [10, 10, 22, 40]}, (8000, 900), "its box shrinks to 3.1x7.7 pixels"),
        (WHERE | {"box_norm": [0, 0.1, 1, 0.101]}, (2000, 3000), "shrinks to 1365.0x2.0 pixels"),
        (COUNT, (400, 1), "has an image of 400x1, where hardly anything can be seen"),
    ],
)
def test_what_scaling_takes_away_is_said(
    tmp_path: Path, row: dict[str, Any], size: tuple[int, int], words: str
) -> None:
    [warning] = _doctor(tmp_path, [row | {"image": "a.png"}], {"a.png": _gradient(*size)})
    assert warning.startswith("data/cases.jsonl row 1 ") and words in warning


@pytest.mark.parametrize(
    ("row", "size"),
    [
        (OCR, (2571, 3546)),  # a page at 300 dots an inch
        (OCR, (4960, 7016)),  # and at 600
        (OCR, (1446, 48)),  # a line
        (OCR | {"answer": ""}, (400, 9000)),  # a blank receipt
        (WHERE | {"box": [10, 10, 60, 80]}, (4000, 3000)),
        (COUNT, (4000, 3000)),
        (COUNT, (40, 8)),
    ],
)
def test_what_can_still_be_seen_is_no_matter(
    tmp_path: Path, row: dict[str, Any], size: tuple[int, int]
) -> None:
    assert _doctor(tmp_path, [row | {"image": "a.png"}], {"a.png": _gradient(*size)}) == []


def test_rows_are_counted_and_the_first_ones_named(tmp_path: Path) -> None:
    rows = [OCR | {"image": "a.png", "prompt": f"Read {n}."} for n in range(12)]
    rows[0]["image"] = "b.png"
    images = {"a.png": _gradient(300, 3000), "b.png": _gradient(300, 300)}
    [warning] = _doctor(tmp_path, rows, images, max_image_side=1000)
    assert "row 2 is scaled from 300x3000 to 100x1000, text becomes illegible" in warning
    assert "(10 more like it: 3, 4, ...)" in warning
    assert "raise source.max_image_side (1000)" in warning
    [warning] = _doctor(tmp_path, rows[:3], images, max_image_side=1000)
    assert "(1 more like it: 3)" in warning


# --- dark, bright, flat -------------------------------------------------------------------------


def _png16(pixels: NDArray[np.int64]) -> bytes:
    """16 bits a channel, which Pillow reads but does not write in colour."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    height, width = pixels.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in pixels)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _tiff(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="TIFF")
    return buffer.getvalue()


RAMP = np.linspace(0, 1, 4096).reshape(64, 64)
HOT = RAMP.copy()
HOT[0, 0] = 1000
COLOUR = np.stack([RAMP] * 3, axis=-1)
LOOKS: dict[str, tuple[Any, str]] = {
    "12 bits of 16": (
        _png16((RAMP * 4095).astype(np.int64)),
        "uses 6% of its 16-bit range and is nearly black (brightest 16 of 255); ",
    ),
    "12 bits of 16 in colour": (
        _png16((COLOUR * 4095).astype(np.int64)),
        "uses 6% of its 16-bit range and is nearly black (brightest 15 of 255); ",
    ),
    "12 bits and a hot pixel": (
        _png16((np.clip(HOT, 0, 2) * 4095 + (HOT > 2) * 50_000).astype(np.int64)),
        "uses 6% of its 16-bit range and is nearly black (brightest 16 of 255); ",
    ),
    "14 bits of 16": (
        _tiff((RAMP * 16_383).astype(np.uint16)),
        "uses 25% of its 16-bit range and is dark (brightest 64 of 255); ",
    ),
    "8 bits of 16": (
        _png16((RAMP * 255).astype(np.int64)),
        "uses less than 1% of its 16-bit range and is nearly black (brightest 1 of 255); ",
    ),
    "float with a hot pixel": (_tiff(HOT.astype(np.float32)), "is nearly black (brightest 0 of "),
    "wide integers": (_tiff((HOT * 1e6).astype(np.int32)), "is nearly black (brightest 0 of 255, "),
    "8 bits, dark": (Image.fromarray((RAMP * 20).astype(np.uint8)), "nearly black (brightest 20"),
    "8 bits, bright": (
        Image.fromarray((240 + RAMP * 15).astype(np.uint8)), "nearly white (darkest 240 of 255)",
    ),
    "16 bits, bright": (
        _png16((60_000 + RAMP * 5_000).astype(np.int64)), "is nearly white (darkest 233 of 255, a",
    ),
    "grey": (Image.fromarray((120 + RAMP * 6).astype(np.uint8)), "(120 to 126 of 255)"),
    "flat": (Image.new("RGB", (9, 9), (9, 200, 9)), "is one flat colour, (9, 200, 9): nothing can"),
    "flat float": (_tiff(np.full((9, 9), 0.5, np.float32)), "is one flat colour, (0, 0, 0)"),
    "transparent": (Image.new("RGBA", (9, 9), (9, 200, 9, 0)), "flat colour, (255, 255, 255)"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOKS)
def test_images_that_show_nothing_are_named(tmp_path: Path, name: str) -> None:
    image, words = LOOKS[name]
    file = f"a.{'png' if isinstance(image, Image.Image) else 'bin'}"
    [warning] = _doctor(tmp_path, [COUNT | {"image": file}], {file: image})
    assert warning.startswith("data/cases.jsonl row 1 ") and words in warning


@pytest.mark.parametrize(
    "image",
    [
        _png16((RAMP * 65_535).astype(np.int64)),
        _png16((RAMP * 30_000).astype(np.int64)),
        _tiff(RAMP.astype(np.float32)),
        _tiff(((RAMP - 0.5) * 100_000).astype(np.int32)),
        Image.fromarray((RAMP > 0.999).astype(np.uint8) * 200),  # stars
        Image.fromarray(255 - (RAMP > 0.999).astype(np.uint8) * 200),  # a word
    ],
)
def test_images_that_show_something_are_not(tmp_path: Path, image: Any) -> None:
    file = f"a.{'png' if isinstance(image, Image.Image) else 'bin'}"
    assert _doctor(tmp_path, [COUNT | {"image": file}], {file: image}) == []


def test_where_nothing_is_true_nothing_need_be_seen(tmp_path: Path) -> None:
    rows = [OCR | {"image": "a.png", "answer": ""}, COUNT | {"image": "a.png", "answer": 0}]
    assert _doctor(tmp_path, rows, {"a.png": Image.new("L", (9, 9), 255)}) == []


# --- boxes of another convention ----------------------------------------------------------------

SIZE = (320, 240)


def _draw_boxes(count: int) -> NDArray[np.float64]:
    """Corners in 0-1 of boxes all over an image."""
    rng = np.random.default_rng(0)
    sizes = rng.uniform(0.05, 0.6, (count, 2))
    starts = rng.uniform(0, 1 - sizes)
    return np.hstack([starts, starts + sizes])


def _to_centre(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    start, end = corners[:, :2], corners[:, 2:]
    return np.hstack([(start + end) / 2, end - start])


def _to_extent(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])


PIXELS = np.array(SIZE * 2)
CONVENTIONS: dict[str, tuple[str, Any, str]] = {
    "x, y, width, height": ("box", lambda c: _to_extent(c * PIXELS).round(), "like x, y, width"),
    "x, y, width, height in 0-1": ("box_norm", _to_extent, "like x, y, width, height"),
    "centres": ("box", lambda c: _to_centre(c * PIXELS).round(1), "like centre x, centre y"),
    "centres in 0-1": ("box_norm", _to_centre, "like centre x, centre y, width, height"),
    "y first": ("box", lambda c: (c * PIXELS)[:, [1, 0, 3, 2]].round(), "like y1, x1, y2, x2"),
    "0-1000": ("box", lambda c: (c * 1000).round(), "like 0-1000 of the image"),
    "0-1000 as box_norm": ("box_norm", lambda c: (c * 1000).round(), "like 0-1000 of the image"),
    "percent as box_norm": ("box_norm", lambda c: (c * 100).round(1), "look like percent"),
    "pixels as box_norm": ("box_norm", lambda c: (c * PIXELS).round(), "look like pixels"),
    "percent": ("box", lambda c: (c * 100).round(), "percent (divide by 100"),
    "a larger image": ("box", lambda c: (c * PIXELS * 4).round(), "boxes of larger images"),
    "a smaller image": ("box", lambda c: (c * PIXELS / 2).round(1), "boxes of smaller images"),
}


@pytest.mark.parametrize("on_bad_row", ["fail", "drop"])
@pytest.mark.parametrize("name", CONVENTIONS)
def test_boxes_of_another_convention_are_said_once(
    tmp_path: Path, name: str, on_bad_row: str
) -> None:
    key, convert, words = CONVENTIONS[name]
    rows = _write_rows(convert(_draw_boxes(40)).tolist(), key)
    warnings = _doctor_boxes(tmp_path, rows, on_bad_row)
    assert len(warnings) == 1 and words in warnings[0]
    assert "of 40 box" in warnings[0]


def _write_rows(boxes: Sequence[Sequence[float]], key: str = "box") -> list[dict[str, Any]]:
    return [
        WHERE | {"image": "a.png", "prompt": f"Where is {number}?", key: box}
        for number, box in enumerate(boxes)
    ]


def _doctor_boxes(
    folder: Path,
    rows: list[dict[str, Any]],
    on_bad_row: str = "fail",
    size: tuple[int, int] = SIZE,
) -> list[str]:
    source = write_source(folder / "data", rows, num_images=0, on_bad_row=on_bad_row)
    _gradient(*size).save(folder / "data" / "a.png")
    config = RefreshConfig(store=folder / "store", source=source)
    return [finding.what for finding in check_source(config) if "look like" in finding.what]


def test_the_sentence_about_boxes(tmp_path: Path) -> None:
    boxes = [[4, 93, 107, 124], [151, 44, 80, 86], [48, 81, 147, 27]]
    rows = _write_rows(boxes)
    [warning] = _doctor_boxes(tmp_path, rows, "drop")
    assert warning == (
        "source: 2 of 3 boxes (first data/cases.jsonl row 2: [151, 44, 80, 86]) are no x1, y1, x2, "
        "y2 inside their images, but 3 are boxes inside them as x, y, width, height: these boxes "
        "look like x, y, width, height, and those that fit by chance are wrong too; write "
        "[x, y, x + width, y + height]"
    )


@pytest.mark.parametrize("slips", [0, 1, 3])
def test_good_boxes_with_a_few_slips_look_like_nothing_else(tmp_path: Path, slips: int) -> None:
    corners = (_draw_boxes(60) * PIXELS).round()
    corners[:slips] = corners[:slips, [2, 1, 0, 3]]
    rows = _write_rows(corners.tolist())
    assert _doctor_boxes(tmp_path, rows) == []
    norm = _write_rows((corners / PIXELS).tolist(), "box_norm")
    assert _doctor_boxes(tmp_path, norm) == []


def test_a_few_boxes_in_one_corner_are_no_matter(tmp_path: Path) -> None:
    corners = (_draw_boxes(19) * PIXELS / 2).round(1).tolist()
    rows = _write_rows(corners)
    assert _doctor_boxes(tmp_path, rows) == []


def test_numbers_up_to_1000_in_large_images_are_doubted(tmp_path: Path) -> None:
    rows = _write_rows((_draw_boxes(40) * 1000).round().tolist())
    [warning] = _doctor_boxes(tmp_path, rows, size=(2400, 1900))
    assert "boxes of smaller images, or 0-1000 of the image (divide by 1000" in warning


def test_one_file_of_several_is_named(tmp_path: Path) -> None:
    corners = (_draw_boxes(40) * PIXELS).round()
    good = write_source(tmp_path / "good", _write_rows(corners.tolist()), num_images=0)
    other = write_source(tmp_path / "other", _write_rows(_to_extent(corners).tolist()), 0)
    for folder in ("good", "other"):
        _gradient(*SIZE).save(tmp_path / folder / "a.png")
    source = good.model_copy(update={"files": [*good.files, *other.files], "on_bad_row": "drop"})
    config = RefreshConfig(store=tmp_path / "store", source=source)
    [warning] = [found.what for found in check_source(config) if "look like" in found.what]
    assert "of 40 boxes (first other/cases.jsonl row " in warning and "x, y, width" in warning
