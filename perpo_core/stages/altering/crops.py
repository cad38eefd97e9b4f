"""The crop that mDPO's conditional term sets against the image (arXiv 2406.11839).

A small part of the image, scaled back to its size, so that it takes the same tokens and shows
little of what the answer is about. As torchvision's RandomResizedCrop(scale=(0.01, 0.2)), which the
released code uses: a share of the area and a shape are drawn, then a place.

Departures: a sample's crop is a function of its key and the seed, so that policy and reference see
the same one; and where the image is too narrow for the drawn shape, the crop is made longer, so
that its area stays what was drawn (torchvision draws again and gives up on the scale in the end).
"""

from __future__ import annotations

import math
import random

from PIL import Image

from perpo_core.store.keys import compute_hash

AREA_SHARES = (0.01, 0.2)  # of the image; mDPO
SHAPES = (3 / 4, 4 / 3)  # width by height; torchvision's default


def draw_crop_box(width: int, height: int, key: str, seed: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in pixels of an image of this size; at least one pixel."""
    rng = random.Random(compute_hash([seed, key]))
    area = width * height * rng.uniform(*AREA_SHARES)
    shape = math.exp(rng.uniform(math.log(SHAPES[0]), math.log(SHAPES[1])))
    tall = min(height, math.sqrt(area / shape))
    wide = min(width, area / tall)
    crop_width, crop_height = max(1, round(wide)), max(1, round(area / wide))
    left = rng.randint(0, width - crop_width)
    top = rng.randint(0, height - crop_height)
    return left, top, left + crop_width, top + crop_height


def crop_image(image: Image.Image, key: str, seed: int) -> Image.Image:
    """The crop of that key and seed, scaled to the size of the image."""
    box = draw_crop_box(image.width, image.height, key, seed)
    return image.crop(box).resize(image.size, Image.Resampling.BILINEAR)
