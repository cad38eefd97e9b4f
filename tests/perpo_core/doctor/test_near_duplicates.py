"""Copies of an image in another split are named; what merely resembles it is not."""

from __future__ import annotations

import io
import random
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from perpo_core.doctor import near_duplicates
from perpo_core.doctor.near_duplicates import (
    HASH_WORDS,
    MAX_DISTANCE,
    MAX_NAMED_PAIRS,
    compute_look,
    find_pairs,
)  # fmt: skip
from perpo_core.doctor.source import check_source
from perpo_core.stages.collect.sources.digits import compose_scene
from schemas.config import RefreshConfig
from tests.perpo_core.photos import ask, build_source, encode, encode_twin, write_images

WORDS = ("the", "of", "and", "a", "in", "that", "was", "for", "his", "they", "have", "whenever")


def _make_photo(seed: int) -> Image.Image:
    """Coarse shapes with finer ones upon them, as in photos."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(0, 90 / side, (side, side, 3)) for side in (3, 6, 12, 24, 48)]
    canvas = np.full((240, 320, 3), 128.0)
    for layer in layers:
        for channel in range(3):
            part = Image.fromarray(layer[..., channel].astype(np.float32)).resize((320, 240))
            canvas[..., channel] += 3 * np.asarray(part)
    return Image.fromarray(canvas.clip(0, 255).astype(np.uint8))


def _make_page(seed: int, num_lines: int = 38) -> Image.Image:
    """A page of one layout, with words of its own."""
    rng, page = random.Random(seed), Image.new("RGB", (800, 1100), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(18)
    for line in range(num_lines):
        draw.text((60, 60 + 25 * line), " ".join(rng.choices(WORDS, k=14)), "black", font)
    return page


def _make_scene(seed: int) -> Image.Image:
    return compose_scene("train", "grounding", seed, 0).image


MAKERS: dict[str, Callable[[int], Image.Image]] = {
    "photos": _make_photo, "pages": _make_page, "scenes": _make_scene,
}  # fmt: skip


def _encode_anew(image: Image.Image, quality: int = 50) -> Image.Image:
    return Image.open(io.BytesIO(encode(image, "JPEG", quality=quality))).convert("RGB")


def _resize(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of low quality": _encode_anew,
    "smaller": lambda image: _resize(image, 0.4),
    "slightly smaller": lambda image: _resize(image, 0.9),
    "squashed": lambda image: image.resize((224, 224)),
    "smaller and a JPEG": lambda image: _encode_anew(_resize(image, 0.5), 75),
}


def _check(folder: Path, images: dict[str, Image.Image], rows: Sequence[Any]) -> list[Any]:
    """The doctor's findings on likeness."""
    write_images(folder, {name: encode(image) for name, image in images.items()})
    config = RefreshConfig(source=build_source(folder, rows), store=folder / "store")
    findings = check_source(config)
    return [each for each in findings if "look alike" in each.what or "too plain" in each.what]


@pytest.mark.parametrize("what", MAKERS)
def test_a_copy_in_another_split_is_named_with_both_rows_and_nothing_else_is(
    tmp_path: Path, what: str
) -> None:
    images = {f"{seed}.png": MAKERS[what](seed) for seed in range(12)}
    rows = [ask(name, split=("train", "test")[n % 2]) for n, name in enumerate(images)]
    assert _check(tmp_path, images, rows) == []
    for number, copy in enumerate(COPIES.values()):
        images[f"copy-{number}.png"] = copy(images[f"{number}.png"])
        rows.append(ask(f"copy-{number}.png", split="selection"))
    found = _check(tmp_path, images, rows)
    assert {each.level for each in found} == {"warning"} and len(found) == len(COPIES)
    text = "\n".join(each.what for each in found)
    place = f"{tmp_path.name}/0.jsonl"
    for number in range(len(COPIES)):
        kept, copied = f"{place}:{number + 1} ", f"{place}:{number + 13} "
        [line] = [line for line in text.splitlines() if kept in line and copied in line]
        assert ("(train)", "(test)")[number % 2] in line and "(selection)" in line
        assert "of 256 bits differ" in line and line.endswith("name one split for both")


def test_copies_in_one_split_and_files_of_equal_pixels_are_all_right(tmp_path: Path) -> None:
    photo = _make_photo(0)
    images = {"0.png": photo, "small.png": _resize(photo, 0.5)}
    assert _check(tmp_path, images, [ask(name, split="train") for name in images]) == []
    write_images(tmp_path, {"a.png": encode_twin(1, 0), "b.png": encode_twin(1, 1)})
    assert _check(tmp_path, {}, [ask("a.png"), ask("b.png", split="test")]) == []


def test_images_of_rows_that_are_set_aside_are_in_no_split(tmp_path: Path) -> None:
    images = {"0.png": _make_photo(0), "1.png": _resize(_make_photo(0), 0.5)}
    rows = [ask("0.png", split="train"), ask("1.png", split="test", answer=None)]
    assert _check(tmp_path, images, rows) == []


def test_plain_images_are_no_copies_of_each_other_and_are_counted(tmp_path: Path) -> None:
    greys = [Image.new("RGB", (80, 60), (grey, grey, grey)) for grey in (0, 128, 250)]
    rng = np.random.default_rng(0)
    noisy = [np.full((60, 80, 3), 250) + rng.integers(-3, 4, (60, 80, 3)) for _ in range(3)]
    plain = [
        *greys,
        *(Image.fromarray(each.clip(0, 255).astype(np.uint8)) for each in noisy),
        *(_make_page(seed, num_lines=1) for seed in range(6)),
    ]
    images = {f"{n}.png": image for n, image in enumerate(plain)}
    rows = [ask(name, split=("train", "test")[n % 2]) for n, name in enumerate(images)]
    [finding] = _check(tmp_path, images, rows)
    assert finding.level == "ok" and "12 images are too plain" in finding.what


def test_many_pairs_are_counted_and_the_most_alike_named(tmp_path: Path) -> None:
    photo = _make_photo(0)
    sizes = range(100, 130)
    images = {"0.png": photo} | {f"{n}.png": photo.resize((n, n)) for n in sizes}
    rows = [ask(name, split="test" if name == "0.png" else "train") for name in images]
    found = _check(tmp_path, images, rows)
    assert len(found) == MAX_NAMED_PAIRS + 1
    assert f"{len(sizes)} pairs of images in different splits" in found[-1].what
    distances = [int(each.what.split("alike (")[1].split()[0]) for each in found[:-1]]
    assert distances == sorted(distances)


def _unpack(hashes: Any) -> Any:
    return np.unpackbits(hashes.view(np.uint8), axis=1).astype(int)


def test_blocks_find_what_comparing_each_with_each_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (90, 64 * HASH_WORDS), dtype=np.uint8)
    for copy in range(45, 80):  # copies with up to 34 other bits
        bits[copy] = bits[copy - 45]
        bits[copy, rng.permutation(bits.shape[1])[: copy - 45]] ^= 1
    hashes = np.packbits(bits, axis=1).view(np.uint64)
    members = [np.flatnonzero(np.arange(90) % 4 == group) for group in range(4)]
    distances = np.abs(bits[:, None].astype(int) - bits[None]).sum(-1)
    expected = sorted(
        (int(distances[a, b]), a, b)
        for a in range(90) for b in range(90)
        if a % 4 < b % 4 and distances[a, b] <= MAX_DISTANCE
    )  # fmt: skip
    assert len(expected) > 5 and max(expected)[0] == MAX_DISTANCE
    for blocks in ((128, 4096), (3, 5), (1, 1)):
        monkeypatch.setattr(near_duplicates, "BLOCK_IMAGES", blocks)
        count, pairs = find_pairs(hashes, members)
        assert count == len(expected)
        assert pairs == expected[:MAX_NAMED_PAIRS]


@pytest.mark.parametrize("alike", [False, True])
def test_many_images_cost_seconds_and_bounded_memory(alike: bool) -> None:
    num_images = 3000 if alike else 30_000
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (num_images, HASH_WORDS), dtype=np.uint64)
    if alike:
        hashes[:] = hashes[0]
    members = np.array_split(np.arange(num_images), 4)
    tracemalloc.start()
    started = time.process_time()
    count, pairs = find_pairs(hashes, members)
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (count, len(pairs)) == ((6 * 750**2, MAX_NAMED_PAIRS) if alike else (0, 0))
    assert seconds < 10  # 0.6 s on an idle machine
    assert peak < 100e6


def test_a_large_photo_is_looked_at_fast() -> None:
    photo = _make_photo(0).resize((4000, 3000))
    started = time.process_time()
    assert compute_look(photo) is not None
    assert time.process_time() - started < 1  # 0.01 s, a tenth of decoding it
