"""Photos by the hundred thousand, each another file of about as many bytes as asked.

They are cut from the two real photos that scikit-learn ships, at another place and brightness each,
so that no two show the same pixels.
"""

from __future__ import annotations

import io
import json
import os
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

SIDE_OF = {100_000: (480, 360), 10_000: (160, 120)}  # of a JPEG of about so many bytes
QUALITY = 97
PER_FOLDER = 1000
BATCH = 500


def write_photos(folder: Path, start: int, stop: int, num_bytes: int) -> None:
    """Photos start to stop, and a line for each in photos-START.jsonl with one question."""
    starts = range(start, stop, BATCH)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [(folder, first, min(first + BATCH, stop), num_bytes) for first in starts]
        list(pool.map(_write_batch, *zip(*jobs, strict=True)))
    box = _find_middle(SIDE_OF[num_bytes])
    lines = (json.dumps(_build_row(number, box)) for number in range(start, stop))
    (folder / f"photos-{start:07d}.jsonl").write_text("\n".join(lines) + "\n")


def name_photo(number: int) -> str:
    return f"{number // PER_FOLDER:04d}/{number:07d}.jpg"


def _write_batch(folder: Path, start: int, stop: int, num_bytes: int) -> None:
    for number in range(start, stop):
        path = folder / name_photo(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_encode(number, SIDE_OF[num_bytes]))


def _encode(number: int, size: tuple[int, int]) -> bytes:
    photo = _load_photos()[number % 2]
    width, height = size
    generator = np.random.default_rng(number)
    x = int(generator.integers(0, photo.shape[1] - width + 1))
    y = int(generator.integers(0, photo.shape[0] - height + 1))
    cut = photo[y : y + height, x : x + width].astype(np.int16)
    cut = cut + generator.integers(-9, 10, (1, 1, 3)) + generator.integers(-2, 3, (height, 1, 3))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(cut, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


@cache
def _load_photos() -> list[np.ndarray]:
    from sklearn.datasets import load_sample_images

    return list(load_sample_images().images)


def _find_middle(size: tuple[int, int]) -> list[int]:
    """The box of half the width and height, in pixels."""
    width, height = size
    return [width // 4, height // 4, 3 * width // 4, 3 * height // 4]


def _build_row(number: int, box: list[int]) -> dict[str, object]:
    """One in a thousand chooses, judges or is shown; the others are trained on."""
    split = {0: "selection", 1: "validation", 2: "test"}.get(number % 1000, "train")
    return {
        "task": "grounding", "image": name_photo(number), "prompt": "Where is it?",
        "box": box, "box_format": "xyxy_pixels", "split": split,
        "source": "scikit-learn", "licence": "CC BY 2.0",
    }  # fmt: skip
