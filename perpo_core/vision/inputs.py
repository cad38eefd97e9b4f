"""Joining what a processor made of the images of several prompts, for any model family."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad


def join_vision(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One set of vision tensors for prompts in order; a prompt without images has none of a name.

    Tensors are joined along their first axis. Where other axes differ (tiles of an any-resolution
    image, images of a prompt, pixels of an image that was not made square), zeros are added at the
    end, as the processors themselves do: the models know what is there from image_sizes, the pixel
    mask or the zeros.
    """
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _join([part[name] for part in parts if name in part]) for name in names}


def _join(tensors: Sequence[Tensor]) -> Tensor:
    sizes = [max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensors), strict=True)]
    return torch.cat([_grow(tensor, sizes) for tensor in tensors])


def _grow(tensor: Tensor, sizes: Sequence[int]) -> Tensor:
    """Zeros at the end of every axis but the first, up to `sizes`."""
    if list(tensor.shape[1:]) == list(sizes):
        return tensor
    missing = [want - have for want, have in zip(sizes, tensor.shape[1:], strict=True)]
    return pad(tensor, [side for count in reversed(missing) for side in (0, count)])
