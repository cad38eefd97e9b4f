"""Python objects with CPU tensors in them as bytes, the tensors as plain memory.

pickle alone writes a tensor as torch.save does, an archive for each; torch's own way between
processes is shared memory, of which containers have little.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch
from torch import Tensor


class _Packer(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if type(value) is Tensor and value.device.type == "cpu":
            flat = value.detach().contiguous().reshape(-1)
            return _unpack_tensor, (flat.view(torch.uint8).numpy(), value.dtype, value.shape)
        return NotImplemented


def pack(value: Any) -> bytes:
    """Whatever pickle takes, tensors of the CPU among it."""
    buffer = io.BytesIO()
    _Packer(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def unpack(packed: bytes) -> Any:
    """What was packed, by a process of ours."""
    return pickle.loads(packed)


def _unpack_tensor(content: Any, dtype: torch.dtype, shape: torch.Size) -> Tensor:
    return torch.from_numpy(content).view(dtype).reshape(shape)
