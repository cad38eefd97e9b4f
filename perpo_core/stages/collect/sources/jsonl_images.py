"""Loading the image of a row: ready for the store, or decoded to its end and only looked at."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from perpo_core.stages.collect.sources.jsonl_loading import LoadedImage
from perpo_core.vision.images import (
    build_stored,
    encode_for_store,
    hash_pixels,
    load_bytes,
    measure_image,
)
from schemas.sources import RowsSource

KEPT_IMAGES = 8  # rows about the same photo usually follow each other

Loader = Callable[[Path | bytes, str, RowsSource], LoadedImage]
"""(file or its bytes, where, settings)"""
Look = Callable[[str, Image.Image], None]  # (pixels_hash, upright RGB image)


def load_for_store(path: Path | bytes, where: str, config: RowsSource) -> LoadedImage:
    """The bytes that the store is to hold. Raises ImageError."""
    data = load_bytes(path, where, config.max_image_megapixels)
    stored = encode_for_store(data, where, config.max_image_megapixels, config.max_image_side)
    return LoadedImage(stored, hashlib.sha256(data).hexdigest())


def load_to_check(
    path: Path | bytes, where: str, config: RowsSource, look: Look | None = None
) -> LoadedImage:
    """The bytes as received; the decoded image is shown to `look`. Raises ImageError."""
    data = load_bytes(path, where, config.max_image_megapixels)
    image, brightness = measure_image(data, where, config.max_image_megapixels)
    stored = build_stored(data, image.size, image.size, hash_pixels(image))
    if look is not None:
        look(stored.pixels_hash, image)
    return LoadedImage(stored, hashlib.sha256(data).hexdigest(), brightness)


def remember_images(load: Loader, config: RowsSource) -> Callable[[Path | bytes, str], LoadedImage]:
    """Load each of the last few images once; failures are raised anew, with the new row's name."""
    current_where = ""

    @functools.lru_cache(maxsize=KEPT_IMAGES)
    def load_path(path: Path | bytes) -> LoadedImage:
        return load(path, current_where, config)

    def load_for(path: Path | bytes, where: str) -> LoadedImage:
        nonlocal current_where
        current_where = where
        return load_path(path)

    return load_for
