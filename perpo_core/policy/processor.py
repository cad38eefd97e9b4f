"""A policy's processor as every stage loads it: no code of the folder is run, and its images are
held to the limits of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perpo_core.perception.pixel_limits import apply_limits
from schemas.base import NO_LIMITS, PixelLimits


def load_processor(folder: Path, pixel_limits: PixelLimits = NO_LIMITS) -> Any:
    """transformers' processor of a policy folder.

    Raises ValueError where it has no such limits.
    """
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    apply_limits(processor.image_processor, pixel_limits)
    return processor


def find_size_override(folder: Path, pixel_limits: PixelLimits) -> dict[str, Any] | None:
    """The same limits for who loads the processor by itself: transformers' keyword arguments."""
    if not pixel_limits.describe():
        return None
    size = dict(load_processor(folder, pixel_limits).image_processor.size)
    return {"size": {name: value for name, value in size.items() if value is not None}}
