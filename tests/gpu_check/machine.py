"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "accelerate", "peft", "numpy", "pyarrow", "pydantic", "vllm")


def describe_machine(device: str) -> dict[str, Any]:
    """Card (or CPU) and versions; None: not installed."""
    card = torch.cuda.get_device_name(0) if device == "cuda" else f"CPU, {os.cpu_count()} cores"
    memory = torch.cuda.get_device_properties(0).total_memory if device == "cuda" else None
    return {
        "card": card,
        "card_gib": round(memory / 2**30, 1) if memory else None,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        **{name: find_version(name) for name in PACKAGES},
    }


def find_version(package: str) -> str | None:
    """Of an installed package; vLLM's CPU build goes by another name."""
    for name in (package, f"{package}-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
