"""Which files show the same image: what is seen counts, not how it is written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from perpo_core.stages import collect
from perpo_core.stages.evaluate.statistics import compare_paired
from perpo_core.stages.stage import find_or_make
from perpo_core.vision import images
from perpo_core.vision.images import hash_pixels
from schemas.base import SPLITS
from tests.perpo_core.photos import (
    ask,
    build_source,
    encode,
    encode_twin,
    group_splits,
    open_noise,
    read_samples,
    write_images,
)  # fmt: skip
from tests.perpo_core.small_store import build_context

NUM_TWINS = 3


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """(folder, rows) of 40 photos in three files each, equal pixels with other metadata."""
    folder = tmp_path_factory.mktemp("twins")
    names = {(seed, n): f"{seed}-{n}.png" for seed in range(40) for n in range(NUM_TWINS)}
    write_images(folder, {name: encode_twin(*key) for key, name in names.items()})
    return folder, [ask(name, f"{seed}: how many?") for (seed, _), name in names.items()]


def test_files_of_equal_pixels_are_one_photo(twins: tuple[Path, list[Any]]) -> None:
    folder, rows = twins
    samples = read_samples(build_source(folder, rows))
    assert len(samples) == len({row["prompt_id"] for row in samples}) == 40 * NUM_TWINS
    splits = group_splits(samples)
    assert len(splits) == 40 and sum(len(of_photo) > 1 for of_photo in splits.values()) == 0
    assert {split for of_photo in splits.values() for split in of_photo} == set(SPLITS)


def test_questions_on_files_of_equal_pixels_are_one_cluster_of_the_bootstrap(
    twins: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    folder, rows = twins
    context = build_context(tmp_path, source=build_source(folder, rows).model_dump())
    samples = find_or_make(context, collect).artifact
    table = pq.read_table(context.store.paths(samples))
    ids = table["image_id"].to_pylist()
    assert sorted(Counter(ids).values()) == [NUM_TWINS] * 40
    photo = [
        int(prompt[0]["content"][-1]["text"].split(":")[0])
        for prompt in table["prompt"].to_pylist()
    ]
    values = np.random.default_rng(0).normal(0, 1, 40)
    by_file = compare_paired(np.zeros(120), values[photo], ids, 2000, seed=0)
    by_photo = compare_paired(np.zeros(40), values, list(map(str, range(40))), 2000, seed=0)
    width = by_photo.delta_high - by_photo.delta_low
    assert by_file.delta_high - by_file.delta_low == pytest.approx(width, rel=0.1)


def _flat(colour: Any, mode: str = "RGB") -> Image.Image:
    return Image.new(mode, (9, 7), colour)


def _turn() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(open_noise(3).transpose(Image.Transpose.ROTATE_90), exif=exif)


def _encode_commented_jpeg() -> bytes:
    """A comment after the start marker, as camera software writes."""
    jpeg = encode(open_noise(3), "JPEG", quality=90)
    return jpeg[:2] + b"\xff\xfe\x00\x07hello" + jpeg[2:]


SHOW_THE_SAME: dict[str, tuple[Callable[[], bytes], Callable[[], bytes]]] = {
    "other compression": (
        lambda: encode(open_noise(3)),
        lambda: encode(open_noise(3), compress_level=1),
    ),
    "other format": (lambda: encode(open_noise(3)), lambda: encode(open_noise(3), "BMP")),
    "lossless WebP": (
        lambda: encode(open_noise(3)),
        lambda: encode(open_noise(3), "WEBP", lossless=True),
    ),
    "a JPEG with a comment": (
        lambda: encode(open_noise(3), "JPEG", quality=90),
        _encode_commented_jpeg,
    ),
    "turned, and said so": (lambda: encode(open_noise(3)), _turn),
    "grey as grey": (lambda: encode(_flat((90, 90, 90))), lambda: encode(_flat(90, "L"))),
    "opaque alpha": (
        lambda: encode(_flat((1, 2, 3))),
        lambda: encode(_flat((1, 2, 3, 255), "RGBA")),
    ),
    "a palette": (
        lambda: encode(_flat((1, 2, 3))),
        lambda: encode(_flat((1, 2, 3)).convert("P", palette=Image.Palette.ADAPTIVE)),
    ),
}


@pytest.mark.parametrize("how", SHOW_THE_SAME)
def test_what_shows_the_same_is_the_same_image(tmp_path: Path, how: str) -> None:
    first, second = (encode() for encode in SHOW_THE_SAME[how])
    assert first != second
    write_images(tmp_path, {"a.png": first, "b.png": second})
    rows = [ask("a.png", "A?"), ask("b.png", "B?", "test")]
    samples = read_samples(build_source(tmp_path, rows))
    assert samples[0]["image_id"] == samples[1]["image_id"]
    assert [row["split"] for row in samples] == ["test", "test"]


def test_one_other_pixel_is_another_image_and_so_is_another_shape() -> None:
    image = open_noise(3)
    other = image.copy()
    other.putpixel((23, 15), (0, 0, 0))
    wide, high = Image.new("RGB", (8, 2)), Image.new("RGB", (2, 8))
    hashes = [hash_pixels(each) for each in (image, image.copy(), other, wide, high)]
    assert hashes[0] == hashes[1] and len(set(hashes)) == 4


def test_an_image_is_hashed_whole_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    image = open_noise(3, 50, 41)
    at_once = hash_pixels(image)
    for pixels in (1, 70, 1999):
        monkeypatch.setattr(images, "HASHED_PIXELS", pixels)
        assert hash_pixels(image) == at_once
    image.putpixel((49, 40), (0, 0, 0))
    assert hash_pixels(image) != at_once


def test_an_image_is_what_was_received_not_what_is_stored(tmp_path: Path) -> None:
    """A scaled down copy beside its original is another image, for the doctor to warn of."""
    large = ImageOps.scale(open_noise(3), 4)
    small = images.scale_down(large, 32)
    write_images(tmp_path, {"a.png": encode(large), "b.png": encode(small)})
    first, second = read_samples(
        build_source(tmp_path, [ask("a.png"), ask("b.png", "And?")], max_image_side=32)
    )
    assert first["images"] == second["images"]
    assert first["image_id"] == hash_pixels(large) != second["image_id"] == hash_pixels(small)
