"""Packed attention's counterpart: one dense mask over everything, and inputs for both."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from perpo_core.stages.train.packing import ListLengths

Layout = tuple[ListLengths, ...]
Inputs = tuple[Tensor, Tensor, Tensor]  # query, key, value


class Layer(torch.nn.Module):
    """What attention functions look at of the layer that calls them."""

    is_causal = True

    def __init__(self, num_heads: int, num_shared: int) -> None:
        super().__init__()
        self.num_key_value_groups = num_heads // num_shared


def build_mask(layout: Layout) -> Tensor:
    """[N, N] True where query n may see key m: its list's prefix, its own answer, never later."""
    lists, segments = [], []
    for number, lengths in enumerate(layout):
        lists += [number] * lengths.total
        segments += [0] * lengths.prefix
        for answer, length in enumerate(lengths.answers):
            segments += [answer + 1] * length
    list_N, segment_N = torch.tensor(lists), torch.tensor(segments)
    visible = (segment_N[None] == 0) | (segment_N[None] == segment_N[:, None])
    return visible & (list_N[None] == list_N[:, None]) & torch.ones_like(visible).tril()


def make_inputs(
    layout: Layout,
    num_heads: int,
    num_shared: int,
    dtype: torch.dtype,
    width: int = 8,
    device: str = "cpu",
) -> tuple[Inputs, Tensor]:
    """Inputs and a gradient, `width` numbers a head, laid out as the models' projections are."""
    torch.manual_seed(0)
    num_tokens = sum(lengths.total for lengths in layout)
    shapes = [(1, num_tokens, heads, width) for heads in (num_heads, num_shared, num_shared)]
    query, key, value = (
        torch.randn(shape).to(device, dtype).transpose(1, 2).requires_grad_() for shape in shapes
    )
    return (query, key, value), torch.randn(shapes[0]).to(device, dtype)


def attend_densely(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, scaling: float | None
) -> Tensor:
    """[1, N, H, D], by repeated heads and a mask over everything."""
    shared = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(shared, 1), value.repeat_interleave(shared, 1)
    mask = build_mask(layout).to(query.device)
    out = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    return out.transpose(1, 2)


def compare(mine: Tensor, exact: Tensor) -> float:
    """Relative error, by norms."""
    return ((mine.double() - exact).norm() / exact.norm()).item()
