"""The images that a sample is shown instead of its own, as its row names them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image

from perpo_core.stages.altering.crops import crop_image
from perpo_core.stages.altering.grey import encode_grey
from perpo_core.store.packs import Images, PackWriter
from perpo_core.vision.images import StoredImage, build_stored, hash_pixels
from perpo_core.vision.stored import open_stored
from schemas.probing import ProbeWay

CROP_SEED = 0  # one crop of a sample, whatever is trained

Row = dict[str, Any]


class Pictures:
    """Makes the images of rows and has each in a pack, once."""

    def __init__(self, images: Images, writer: PackWriter) -> None:
        self._images, self._writer = images, writer
        self._sizes: dict[str, tuple[int, int]] = {}
        self._taken: set[str] = set()

    @property
    def taken(self) -> set[str]:
        """Hashes of the images that rows name and that other samples have."""
        return self._taken

    def measure(self, image_hash: str) -> tuple[int, int]:
        """Width and height in pixels of an image that some row names by now."""
        return self._sizes.get(image_hash) or self._images.measure(image_hash)

    def show(self, way: ProbeWay, row: Row, other: Row | None) -> list[str]:
        """Hashes of what the row's prompt shows; `other` is the sample that lends its images."""
        if way == "shuffled":
            assert other is not None
            self._taken.update(other["images"])
            return list(other["images"])
        make = MAKERS[way]
        return [
            self._keep(make(self._images, image_hash, f"{row['sample_id']}/{number}"))
            for number, image_hash in enumerate(row["images"])
        ]

    def _keep(self, image: StoredImage) -> str:
        if image.image_hash not in self._sizes:
            self._sizes[image.image_hash] = image.width, image.height
            self._writer.add(image, image.image_hash)
        return image.image_hash


def _make_grey(images: Images, image_hash: str, key: str) -> StoredImage:
    del key
    data = encode_grey(*images.measure(image_hash))
    return _build(data, open_stored(data))


def _make_crop(images: Images, image_hash: str, key: str) -> StoredImage:
    crop = crop_image(open_stored(images.read(image_hash)), key, CROP_SEED)
    buffer = io.BytesIO()
    crop.save(buffer, format="PNG")
    return _build(buffer.getvalue(), crop)


def _build(data: bytes, image: Image.Image) -> StoredImage:
    return build_stored(data, image.size, image.size, hash_pixels(image))


MAKERS: Mapping[ProbeWay, Callable[[Images, str, str], StoredImage]] = {
    "blank": _make_grey, "cropped": _make_crop,
}  # fmt: skip
