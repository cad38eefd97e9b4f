"""Log-probabilities of the scored tokens of packed lists, without ever holding full logits.

Only the hidden states that predict a scored token are projected onto the vocabulary, a chunk at a
time; the backward pass recomputes each chunk. Peak memory is chunk x vocabulary, whatever the
length of the list.

Liger's fused linear cross entropy is left out: it needs Triton, so it would be a dependency of CUDA
alone, and it gave wrong gradients of the head wherever tokens weigh differently, as they do under
every loss here, until linkedin/Liger-Kernel's pull request 1298 (July 2026). What it could save
over chunks that are computed again is a part of one chunk.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from perpo_core.stages.train.attention import NO_MASK_SHAPE, use_packed_attention
from perpo_core.stages.train.families import build_positions, find_obstacle
from perpo_core.stages.train.packing import PackedBatch
from perpo_core.stages.train.separate import compute_hidden_apart

CHUNK_TOKENS = 1024  # 1024 x 128k vocabulary x 4 bytes = 0.5 GB, the largest block ever held


def compute_token_logps(model: Any, batch: PackedBatch) -> Tensor:
    """log p(token | image, prompt, earlier tokens of its answer), float32 or wider: [M] nats.

    `model` is a transformers image-text-to-text model; layers of it may have adapters.
    """
    return compute_logps_and_ends(model, batch)[0]


def compute_logps_and_ends(model: Any, batch: PackedBatch) -> tuple[Tensor, Tensor | None]:
    """(compute_token_logps, hidden states at the ends whose degree is to be told, [B, V, H]).

    The second is None where no degree is told.
    """
    compute_hidden = compute_hidden_apart if find_obstacle(model) else compute_hidden_packed
    hidden = compute_hidden(model, batch)
    if batch.ends_BV is None:
        return _compute_logps(model, hidden, batch), None
    hidden_MH, ends = hidden.split([len(batch.targets_M), batch.ends_BV.numel()])
    ends_BVH = ends.view(*batch.ends_BV.shape, hidden.shape[-1])
    return _compute_logps(model, hidden_MH, batch), ends_BVH


def _compute_logps(model: Any, hidden_MH: Tensor, batch: PackedBatch) -> Tensor:
    head = model.get_output_embeddings()
    pieces = [
        checkpoint(_project, head, hidden, targets, use_reentrant=False)
        for hidden, targets in zip(
            hidden_MH.split(CHUNK_TOKENS), batch.targets_M.split(CHUNK_TOKENS), strict=True
        )
    ]
    return torch.cat(pieces)


def compute_hidden_packed(model: Any, batch: PackedBatch) -> Tensor:
    """Hidden states that predict the scored tokens, all from one row: [M, H], and after them those
    at the ends: [M + B*V, H]."""
    use_packed_attention(model)
    hidden_1NH = model.model(
        input_ids=batch.input_ids_N[None],
        position_ids=build_positions(model, batch),
        attention_mask=batch.input_ids_N.new_ones(NO_MASK_SHAPE, dtype=torch.bool),
        packed_layout=batch.layout,
        use_cache=False,
        **batch.vision,
    ).last_hidden_state
    return hidden_1NH[0, batch.states_at]


def _project(head: nn.Module, hidden_MH: Tensor, targets_M: Tensor) -> Tensor:
    logits_MV = head(hidden_MH)
    logits_MV = logits_MV.to(torch.promote_types(logits_MV.dtype, torch.float32))
    return torch.log_softmax(logits_MV, -1).gather(-1, targets_M[:, None]).squeeze(-1)


def spread_by_answer(token_logps_M: Tensor, batch: PackedBatch, longest: int) -> Tensor:
    """The token log-probabilities by answer: [B, G, T = longest] nats, 0 where there is none."""
    num_lists, group_size = batch.mask_BG.shape
    counts = batch.owners_M.bincount(minlength=num_lists * group_size)
    places_M = torch.arange(len(token_logps_M), device=token_logps_M.device)
    places_M = places_M - (counts.cumsum(0) - counts)[batch.owners_M]
    spread = token_logps_M.new_zeros(num_lists * group_size, longest)
    spread = spread.index_put((batch.owners_M, places_M), token_logps_M)
    return spread.view(num_lists, group_size, longest)


def sum_by_answer(token_logps_M: Tensor, batch: PackedBatch) -> Tensor:
    """Sum the token log-probabilities of each answer: [B, G] nats, 0 where there is no answer."""
    num_lists, group_size = batch.mask_BG.shape
    totals = token_logps_M.new_zeros(num_lists * group_size)
    return totals.index_add(0, batch.owners_M, token_logps_M).view(num_lists, group_size)
