"""What a box format must know about an image: its size, and the size the policy saw it at.

Only `pixels_resized` needs the second. The Qwen2-VL family of image processors is the one that
writes such boxes (Qwen2.5-VL), so its rule, as transformers implements it, is the only one known
here; any other processor is refused in words instead of guessed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from perpo_core.perception.boxes import Frame
from perpo_core.perception.pixel_limits import apply_limits
from schemas.base import NO_LIMITS, PixelLimits

Framer = Callable[[int, int], Frame]  # (width, height) of the original image, pixels -> Frame


def build_framer(
    box_format: str, policy_folder: Path, pixel_limits: PixelLimits = NO_LIMITS
) -> Framer:
    """What turns an image size into a Frame, for one policy whose processor has these limits.

    Raises ValueError if the format needs the resized size and the policy's processor is not of the
    Qwen2-VL family.
    """
    if not needs_policy(box_format):
        return Frame
    return _build_qwen_framer(policy_folder, pixel_limits)


def needs_policy(box_format: str) -> bool:
    """Whether a format's frames depend on the policy's processor."""
    return box_format == "pixels_resized"


def _build_qwen_framer(policy_folder: Path, pixel_limits: PixelLimits) -> Framer:
    processor_type = _load_processor_type(policy_folder)
    if not processor_type.startswith("Qwen2VLImageProcessor"):
        raise ValueError(
            f"policy.box_format is pixels_resized, but {policy_folder} has the image processor "
            f"{processor_type or '(none)'} and only that of Qwen2-VL resizes by a known rule; "
            "choose another box format"
        )
    # Heavy, and of use to this one format only.
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
        smart_resize,
    )

    processor = Qwen2VLImageProcessorPil.from_pretrained(policy_folder, local_files_only=True)
    apply_limits(processor, pixel_limits)
    factor = processor.patch_size * processor.merge_size
    least, most = processor.size["shortest_edge"], processor.size["longest_edge"]  # pixels in all

    def build_frame(width: int, height: int) -> Frame:
        resized_height, resized_width = smart_resize(height, width, factor, least, most)
        return Frame(width, height, resized_width, resized_height)

    return build_frame


def _load_processor_type(policy_folder: Path) -> str:
    """The image processor's class as the folder names it; "" where it names none."""
    nested, flat = (
        policy_folder / name for name in ("processor_config.json", "preprocessor_config.json")
    )
    config = json.loads(nested.read_text()).get("image_processor", {}) if nested.is_file() else {}
    if not config and flat.is_file():
        config = json.loads(flat.read_text())
    return str(config.get("image_processor_type", ""))
