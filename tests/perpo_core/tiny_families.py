"""Two-layer models of every family, and prompts with images of different sizes made for them.

Pixels come from the families' own image processors (those that need no torchvision); token ids are
written by hand: some text, as many image tokens as the model makes features, some text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoModelForImageTextToText,
    Idefics3Config,
    LlavaConfig,
    LlavaNextConfig,
    LlavaOnevisionConfig,
    Qwen2_5_VLConfig,
    Qwen2VLConfig,
    Qwen3VLConfig,
    SmolVLMConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from perpo_core.stages.train.packing import Branch, PackableList

VOCABULARY_SIZE, IMAGE, PAD = 64, 60, 0
SIDE, PATCH = 16, 8  # pixels of a tile and of a patch
GRIDS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY_SIZE, "hidden_size": 64, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
    "pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
TOWER: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": SIDE, "patch_size": PATCH,
}  # fmt: skip
QWEN_TOWER: dict[str, Any] = {
    "depth": 2, "num_heads": 2, "patch_size": PATCH, "spatial_merge_size": 2,
}  # fmt: skip
QWEN_TEXT = TEXT | {
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}
}
SIZE = {"height": SIDE, "width": SIDE}
IMAGE_SIZES = [[(30, 14)], [(16, 16)], [(20, 33), (12, 15)]]  # width x height, prompt by prompt


@dataclass(frozen=True)
class Family:
    """How a tiny model of the family and its image processor are made."""

    config: Callable[[], Any]
    processor: Callable[[], Any]


def _llama(**changes: Any) -> dict[str, Any]:
    return {"model_type": "llama", **TEXT, **changes}


def _qwen(config: Any, **tower: Any) -> Any:
    return config(
        text_config=dict(QWEN_TEXT),
        vision_config=QWEN_TOWER | tower,
        image_token_id=IMAGE, video_token_id=IMAGE + 1, vision_start_token_id=IMAGE + 2,
    )  # fmt: skip


def _build_qwen_processor() -> Any:
    return Qwen2VLImageProcessorPil(
        size={"shortest_edge": (2 * PATCH) ** 2, "longest_edge": (6 * PATCH) ** 2},
        patch_size=PATCH, merge_size=2, temporal_patch_size=2,
    )  # fmt: skip


FAMILIES = {
    "idefics3": Family(
        lambda: Idefics3Config(
            text_config=_llama(), vision_config=TOWER, scale_factor=2, image_token_id=IMAGE
        ),
        lambda: Idefics3ImageProcessorPil(
            size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
        ),
    ),
    "smolvlm": Family(
        lambda: SmolVLMConfig(
            text_config=_llama(), vision_config=TOWER, scale_factor=2, image_token_id=IMAGE
        ),
        lambda: SmolVLMImageProcessorPil(
            size={"longest_edge": 2 * SIDE}, max_image_size={"longest_edge": SIDE}
        ),
    ),
    "llava": Family(
        lambda: LlavaConfig(
            text_config=_llama(),
            vision_config={"model_type": "clip_vision_model", **TOWER},
            image_token_index=IMAGE,
        ),
        lambda: CLIPImageProcessorPil(size=SIZE, crop_size=SIZE),
    ),
    "llava_next": Family(
        lambda: LlavaNextConfig(
            text_config={**_llama(), "model_type": "mistral", "sliding_window": None},
            vision_config={"model_type": "clip_vision_model", **TOWER},
            image_token_index=IMAGE,
            image_grid_pinpoints=GRIDS,
        ),
        lambda: LlavaNextImageProcessorPil(
            size={"shortest_edge": SIDE}, crop_size=SIZE, image_grid_pinpoints=GRIDS
        ),
    ),
    "llava_onevision": Family(
        lambda: LlavaOnevisionConfig(
            text_config={**_llama(), "model_type": "qwen2"},
            vision_config={"model_type": "siglip_vision_model", **TOWER},
            image_token_index=IMAGE,
            video_token_index=IMAGE + 1,
            image_grid_pinpoints=GRIDS,
        ),
        lambda: LlavaOnevisionImageProcessorPil(size=SIZE, image_grid_pinpoints=GRIDS),
    ),
    "qwen2_vl": Family(
        lambda: _qwen(Qwen2VLConfig, embed_dim=16, hidden_size=64), _build_qwen_processor
    ),
    "qwen2_5_vl": Family(
        lambda: _qwen(
            Qwen2_5_VLConfig, hidden_size=16, intermediate_size=24, out_hidden_size=64,
            window_size=4 * PATCH, fullatt_block_indexes=[1],
        ),
        _build_qwen_processor,
    ),
    "qwen3_vl": Family(
        lambda: _qwen(
            Qwen3VLConfig, hidden_size=16, intermediate_size=24, out_hidden_size=64,
            deepstack_visual_indexes=[0], num_position_embeddings=16,
        ),
        _build_qwen_processor,
    ),
}  # fmt: skip


def build_tiny(name: str, dtype: torch.dtype = torch.float64, config: Any = None) -> Any:
    """A model of the family, in eval mode, with weights large enough that every token matters."""
    torch.manual_seed(0)
    config = config or FAMILIES[name].config()
    model: Any = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(std=1 / math.sqrt(weight[0].numel()))
    return keep_precision(model).to(dtype).eval()


def keep_precision(model: Any) -> Any:
    """Norms of torch instead of transformers', which compute in float32 whatever the dtype."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child).__name__.endswith("RMSNorm") and not isinstance(child, torch.nn.RMSNorm):
                norm = torch.nn.RMSNorm(child.weight.shape, eps=child.variance_epsilon)
                norm.load_state_dict(child.state_dict())
                setattr(module, name, norm)
    return model


def build_tiny_lists(name: str, model: Any, answers: Sequence[Sequence[int]]) -> list[PackableList]:
    """A list a prompt, with answers of the given lengths."""
    rng = np.random.default_rng(1)
    processor = FAMILIES[name].processor()
    lists = []
    for number, lengths in enumerate(answers):
        images = [make_image(size, rng) for size in IMAGE_SIZES[number % len(IMAGE_SIZES)]]
        vision = encode_images(processor, images, model.dtype)
        ids = write_text(rng, 3 + number)
        for count in count_features(model, vision):
            ids += [IMAGE] * count + write_text(rng, 2)
        if "image_grid_thw" in vision:  # Qwen's processors tell image tokens from text
            vision["mm_token_type_ids"] = (torch.tensor([ids]) == IMAGE).int()
        branches = [Branch(write_text(rng, length)) for length in lengths]
        lists.append(PackableList(ids, branches, vision))
    return lists


def make_image(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    width, height = size
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def write_text(rng: np.random.Generator, length: int) -> list[int]:
    return rng.integers(3, IMAGE, length).tolist()


def encode_images(
    processor: Any, images: Sequence[Image.Image], dtype: torch.dtype
) -> dict[str, Tensor]:
    """What the family's processor makes of a prompt's images."""
    encoded = processor(images=[list(images)], return_tensors="pt")
    return {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in encoded.items()
        if isinstance(value, Tensor)
    }


@torch.no_grad()
def count_features(model: Any, vision: dict[str, Tensor]) -> list[int]:
    """Image tokens of each image, or of each of its tiles where a family sets them apart."""
    features = model.model.get_image_features(**vision).pooler_output
    return [len(part) for part in features]
