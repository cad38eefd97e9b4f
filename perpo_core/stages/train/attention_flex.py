"""Packed attention by torch's FlexAttention (arXiv 2412.05496): one kernel call for the whole row.

Which keys a query sees follows from three numbers of it, and they are all that the kernel gets: the
mask is data, so that rows of other layouts run the same compiled kernel. Blocks of keys that no
query of a block sees are never loaded, blocks that all of them see are not masked. The mask of a
row is built once and serves every layer and pass over the row.

The blocks are found from the layout. torch's create_block_mask gives the same from N x N booleans:
268 MB of each at 16,384 tokens, or a compilation of its own.

On CUDA the kernel is compiled, forward and backward, in any dtype a policy has. On a CPU torch
compiles the forward only; its definition of both, all scores at once, serves the tests.

Axes: H heads (K key-value heads), N tokens of the row, D numbers a head, C blocks of BLOCK tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from perpo_core.stages.train.packing import Layout

BLOCK = 128  # tokens; what the kernels are made for
# Layouts differ in few ways for a compiler, yet in more than the 8 that torch allows at first.
MOST_COMPILATIONS = 64
KEPT_MASKS = 4  # of the rows of a step at one time: a batch, its crops


def attend_by_flex(
    q_1HND: Tensor, k_1KND: Tensor, v_1KND: Tensor, layout: Layout, scaling: float | None
) -> Tensor:
    """Attention of a row of packed lists: [1, H, N, D]."""
    # The inputs are of one dtype: autocast has nothing to add, but would be another compilation.
    with torch.autocast(q_1HND.device.type, enabled=False):
        out_1HND: Tensor = compile_flex()(
            q_1HND, k_1KND, v_1KND,
            block_mask=build_block_mask(tuple(layout), q_1HND.device),
            scale=scaling, enable_gqa=q_1HND.shape[1] != k_1KND.shape[1],
            kernel_options={"BACKEND": "TRITON"},  # not another kernel for rows under 128 tokens
        )  # fmt: skip
    return out_1HND


@cache
def compile_flex(backend: str = "inductor") -> Callable[..., Any]:
    """FlexAttention compiled whole. Where that cannot be, it fails: torch would go on without the
    kernel, and hold the scores of all pairs at once.
    """
    compiled: Callable[..., Any] = torch.compile(  # type: ignore[call-overload]  # knows no limit
        flex_attention, fullgraph=True, recompile_limit=MOST_COMPILATIONS, backend=backend
    )
    return compiled


@lru_cache(KEPT_MASKS)
def build_block_mask(layout: Layout, device: torch.device) -> BlockMask:
    """The mask of a row of packed lists, the same for all heads."""
    first_N, end_N, own_N = (bound_N.to(device) for bound_N in find_bounds(layout))

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        del batch, head
        in_prefix = (first_N[query] <= key) & (key < end_N[query])
        return in_prefix | ((own_N[query] <= key) & (key <= query))

    some_CC, all_CC = find_blocks(first_N, end_N, own_N)
    num_tokens = len(own_N)
    return BlockMask.from_kv_blocks(
        *_order(some_CC & ~all_CC), *_order(all_CC),
        BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(num_tokens, num_tokens),
    )  # fmt: skip


def find_bounds(layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """Of every token, what it sees as two ranges: (first_N, end_N, own_N).

    It sees the prefix from `first` to before `end`, and from `own` to itself. A token of a prefix
    sees from the start of its list to itself; its first range is empty (`end` 0).
    """
    segments, start = [], 0
    for lengths in layout:
        segments.append((start, 0, start, lengths.prefix))
        end = own = start + lengths.prefix
        for length in lengths.answers:
            segments.append((start, end, own, length))
            own += length
        start = own
    *bounds_S, lengths_S = torch.tensor(segments, dtype=torch.int32).unbind(1)
    first_N, end_N, own_N = (bound_S.repeat_interleave(lengths_S) for bound_S in bounds_S)
    return first_N, end_N, own_N


def find_blocks(first_N: Tensor, end_N: Tensor, own_N: Tensor) -> tuple[Tensor, Tensor]:
    """([C, C] True where some query of a block sees some key of another, where all see all).

    A block of keys that a query sees by both ranges together counts as seen in part: it is masked
    to no effect. The row's last block is seen in part unless the row fills it.
    """
    num_tokens = len(own_N)
    num_blocks = -(-num_tokens // BLOCK)
    token_N1 = torch.arange(num_tokens, device=own_N.device)[:, None]
    start_C = torch.arange(num_blocks, device=own_N.device) * BLOCK
    end_C = start_C + BLOCK
    first_N1, end_N1, own_N1 = first_N[:, None], end_N[:, None], own_N[:, None]
    some_NC = (first_N1 < end_C) & (start_C < end_N1) | (own_N1 < end_C) & (start_C <= token_N1)
    all_NC = (first_N1 <= start_C) & (end_C <= end_N1) | (own_N1 <= start_C) & (
        end_C <= token_N1 + 1
    )
    missing = num_blocks * BLOCK - num_tokens
    some_NC, all_NC = (
        torch.nn.functional.pad(x_NC, (0, 0, 0, missing)) for x_NC in (some_NC, all_NC)
    )
    return some_NC.unflatten(0, (-1, BLOCK)).any(1), all_NC.unflatten(0, (-1, BLOCK)).all(1)


def _order(blocks_CC: Tensor) -> tuple[Tensor, Tensor]:
    """As BlockMask wants them: how many blocks a row has [1, 1, C], and their numbers first."""
    order_CC = blocks_CC.int().argsort(dim=1, descending=True, stable=True)
    return blocks_CC.sum(1, dtype=torch.int32)[None, None], order_CC.int()[None, None]
