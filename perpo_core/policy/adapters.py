"""What can be asked of an adapter without loading it: its rank, and who takes it. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from schemas.run import PolicyRef

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"  # PEFT's names
WITH_ADAPTERS = (
    "idefics3", "smolvlm", "llava", "llava_next", "qwen2_vl", "qwen2_5_vl", "qwen3_vl",
)  # fmt: skip
"""Families that vLLM takes adapters of; that of llava_onevision does not (vLLM 0.32)."""

SIZES = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM makes room for (vLLM 0.32)."""


def find_size(rank: int) -> int:
    """The smallest that an adapter of this rank fits into; its own rank where none does."""
    return min((size for size in SIZES if size >= rank), default=rank)


def load_rank(policy: PolicyRef) -> int:
    """Of the adapter that a policy is made of; 0 where it has its weights itself."""
    if policy.adapter_folder is None:
        return 0
    return int(load_settings(policy.adapter_folder)["r"])


def load_settings(folder: Path) -> dict[str, Any]:
    """An adapter's configuration; raises ValueError, one sentence, where it is damaged."""
    path = folder / CONFIG_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if settings["r"] < 1:
            raise ValueError("its rank is no rank")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is missing or damaged ({error}); name another policy") from error
    return dict(settings)


def takes_adapters(folder: Path) -> bool:
    """Whether engines can sample from this model with an adapter on it."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return config.get("model_type") in WITH_ADAPTERS
