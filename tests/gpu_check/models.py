"""LLaVA models of real shapes with random weights, made on the device they train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, LlavaConfig

from tests.benchmarks.llava import END, IMAGE, IMAGE_SIDE, PAD, PATCH_SIDE, START


@dataclass(frozen=True)
class Size:
    """A language model's shape, and whether it trains with gradient checkpointing."""

    text: dict[str, Any]
    gradient_checkpointing: bool


SIZES = {
    # Qwen2-0.5B behind CLIP
    "0.5B": Size(
        {
            "model_type": "qwen2", "vocab_size": 151_936, "hidden_size": 896,
            "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
            "num_key_value_heads": 2, "tie_word_embeddings": True,
        },
        gradient_checkpointing=False,
    ),
    # LLaVA-1.5-7B, which infra/configs/llava-1.5-7b-grounding.toml trains with checkpointing
    "7B": Size(
        {
            "model_type": "llama", "vocab_size": 32_064, "hidden_size": 4096,
            "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 32,
        },
        gradient_checkpointing=True,
    ),
}  # fmt: skip
# The same two in miniature: grouped heads, checkpointing and all.
MINIATURES = {
    name: Size(
        size.text | {
            "vocab_size": 2000, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2 if name == "0.5B" else 4,
        },
        size.gradient_checkpointing,
    )
    for name, size in SIZES.items()
}  # fmt: skip
TOWER: dict[str, Any] = {  # CLIP ViT-L/14 at 336 pixels
    "model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096,
    "num_hidden_layers": 24, "num_attention_heads": 16, "projection_dim": 768,
    "image_size": IMAGE_SIDE, "patch_size": PATCH_SIDE,
}  # fmt: skip
SMALL_TOWER = TOWER | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
}


def build_model(name: str, miniature: bool, device: str) -> Any:
    """Frozen weights in bfloat16 and never anywhere else; head and vision tower included."""
    size = (MINIATURES if miniature else SIZES)[name]
    special = {"pad_token_id": PAD, "bos_token_id": START, "eos_token_id": END}
    config = LlavaConfig(
        text_config=size.text | special,
        vision_config=SMALL_TOWER if miniature else TOWER,
        image_token_index=IMAGE,
        tie_word_embeddings=size.text.get("tie_word_embeddings", False),
    )
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
