"""Attention over packed lists: a prefix is attended once, its answers over it where it lies.

A row holds lists one after another, each its prefix and then its answers:

    [ prefix 0 | answer 0.0 | answer 0.1 | ... | prefix 1 | answer 1.0 | ... ]

The tokens of a prefix see the earlier ones of that prefix; the tokens of an answer see their prefix
and the earlier ones of that answer. Nothing is computed for lists and answers that do not see each
other, and no dense mask is built.

There are several ways to compute it (perpo_core.stages.train.attention_ways chooses), all tested
against the same dense mask. Registered with transformers as "perpo_packed"; without a layout it is
plain "sdpa".

Axes: H heads (K key-value heads), N tokens of the row, D numbers a head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from perpo_core.stages.train.attention_ways import WAYS, Heads, choose_way
from perpo_core.stages.train.packing import Layout

NAME = "perpo_packed"
# Of the mask's four axes and no size: the models hand it on as it is, and every attention that does
# not know the layout fails on it instead of showing each token everything.
NO_MASK_SHAPE = (1, 1, 0, 0)


def use_packed_attention(model: Any) -> None:
    """Let a model's text layers attend by layout; the vision tower keeps its own attention."""
    text = model.get_decoder().config
    if text._attn_implementation != NAME:
        model.set_attn_implementation({"text_config": NAME})
    assert text._attn_implementation == NAME


def attend_packed(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packed_layout: Layout | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: query [1, H, N, D], key and value [1, K, N, D]
    -> ([1, N, H, D], None).
    """
    if packed_layout is None:
        out, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return out, None
    # Under autocast rotary embeddings may have widened the two; the kernels take one dtype.
    query, key = query.to(value.dtype), key.to(value.dtype)
    way = choose_way(Heads.of(query, key)).way
    out_1HND = WAYS[way](query, key, value, packed_layout, scaling)
    return out_1HND.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend_packed)
AttentionMaskInterface.register(NAME, sdpa_mask)
