"""What each model family needs to share a prefix: how it numbers positions. A family is one line.

A family that is not here, or a model whose attention is not over all earlier tokens, trains on
separate sequences (perpo_core.stages.train.separate); `find_obstacle` says why in a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from perpo_core.stages.train.packing import PackableList, PackedBatch

Numbering = Callable[[Any, PackableList], Tensor]


def number_in_order(model: Any, packable: PackableList) -> Tensor:
    """0, 1, 2, ...: position ids of the prefix, [1, P]."""
    del model
    return torch.arange(len(packable.prefix_ids))[None]


def number_by_grid(model: Any, packable: PackableList) -> Tensor:
    """Time, height and width (M-RoPE, arXiv 2409.12191): position ids of the prefix, [3, 1, P]."""
    ids_1P = torch.tensor([packable.prefix_ids])
    is_image_1P = (ids_1P == model.config.image_token_id).int()
    grid = packable.vision.get("image_grid_thw")
    positions_31P, _ = model.model.get_rope_index(ids_1P, is_image_1P, image_grid_thw=grid)
    assert isinstance(positions_31P, Tensor)
    return positions_31P


NUMBERINGS: dict[str, Numbering] = {
    "idefics3": number_in_order,
    "smolvlm": number_in_order,
    "llava": number_in_order,
    "llava_next": number_in_order,
    "llava_onevision": number_in_order,
    "qwen2_vl": number_by_grid,
    "qwen2_5_vl": number_by_grid,
    "qwen3_vl": number_by_grid,
}


def find_obstacle(model: Any) -> str | None:
    """Why a model's answers cannot share their prefix; None when they can.

    `model` is a transformers image-text-to-text model, not wrapped.
    """
    family, text = model.config.model_type, model.get_decoder().config
    if family not in NUMBERINGS:
        return f"how {family} models number positions is not in {__name__}"
    if getattr(text, "sliding_window", None) is not None:
        return f"its attention slides over {text.sliding_window} tokens"
    unknown = set(getattr(text, "layer_types", None) or ()) - {"full_attention"}
    if unknown:
        return f"it has layers of {' and '.join(sorted(unknown))}"
    if getattr(text, "attention_dropout", 0):
        return f"its attention drops out at random (attention_dropout {text.attention_dropout})"
    return None


def build_positions(model: Any, batch: PackedBatch) -> Tensor:
    """Position ids of the row, each answer continuing its prefix: [1, N] or [3, 1, N]."""
    number = NUMBERINGS[model.config.model_type]
    pieces = []
    for packable in batch.lists:
        prefix = number(model, packable)
        pieces.append(prefix)
        for length in packable.lengths.answers:
            answer = torch.arange(length) + prefix.amax() + 1
            pieces.append(answer.expand(*prefix.shape[:-1], -1))
    return torch.cat(pieces, -1).to(batch.input_ids_N.device)
