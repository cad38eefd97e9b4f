"""Image processors held to limits of pixels: the one place that knows which have any, and where.

Qwen2-VL's and its successors' count the pixels of a whole image, under the names of edges (`size`
in transformers' Qwen2VLImageProcessor). Idefics3's and SmolVLM's scale every image to one longest
edge, up or down: the largest square of `max_pixels` bounds it, and there is no smallest image.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

from schemas.base import PixelLimits

BY_AREA = "Qwen2VLImageProcessor"
BY_EDGE = ("Idefics3ImageProcessor", "SmolVLMImageProcessor")


def apply_limits(images: Any, limits: PixelLimits) -> None:
    """Hold a processor of images to these limits; none set: it stays as it is.

    Raises ValueError for one that has no such limits.
    """
    if limits.describe():
        size = compute_size(type(images).__name__, dict(images.size), limits)
        images.size = type(images.size)(**size)


def compute_size(kind: str, size: dict[str, int], limits: PixelLimits) -> dict[str, int]:
    """What `size` of a processor of this class becomes; raises ValueError as apply_limits does."""
    size = {name: value for name, value in size.items() if value is not None}
    if kind.startswith(BY_AREA):
        return _bound_area(size, limits)
    if kind.startswith(BY_EDGE) and limits.min_pixels is None and limits.max_pixels is not None:
        return {**size, "longest_edge": min(size["longest_edge"], isqrt(limits.max_pixels))}
    named = " and ".join(f"policy.{name}" for name in limits.describe())
    raise ValueError(
        f"the policy's image processor is a {kind}, which {named} cannot be said to: those of "
        "Qwen2-VL and its successors have both limits, Idefics3's and SmolVLM's have max_pixels; "
        "leave it out"
    )


def _bound_area(size: dict[str, int], limits: PixelLimits) -> dict[str, int]:
    least = limits.min_pixels or min(size["shortest_edge"], limits.max_pixels or 2**62)
    most = limits.max_pixels or max(size["longest_edge"], least)
    return {**size, "shortest_edge": least, "longest_edge": most}
