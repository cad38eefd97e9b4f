"""A policy's model, from its weights and what goes onto them; safetensors only, no code is run.

Of a policy that is an adapter on its base, the adapter stays beside the weights, frozen: added to
weights of 16 bits it would be rounded to their steps, which are often larger than what a round of
training adds. vLLM computes it in the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForImageTextToText

from perpo_core.policy.adapters import CONFIG_FILE, WEIGHTS_FILE
from perpo_core.policy.processor import load_processor
from schemas.base import NO_LIMITS, PixelLimits
from schemas.run import PolicyRef

START = "start"
"""PEFT's name of the adapter that a policy is made of; one that is being trained is "default"."""


def load_policy(
    folder: Path, dtype: str, pixel_limits: PixelLimits = NO_LIMITS, **options: Any
) -> tuple[Any, Any]:
    """(model, processor) of a folder with whole weights."""
    model = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        attn_implementation="sdpa",
        use_safetensors=True,
        trust_remote_code=False,
        **options,
    )
    return model, load_processor(folder, pixel_limits)


def load_model(
    policy: PolicyRef, dtype: str, pixel_limits: PixelLimits = NO_LIMITS, **options: Any
) -> tuple[Any, Any]:
    """load_policy of any policy; a PeftModel where it is an adapter on its base."""
    model, processor = load_policy(policy.weights_folder, dtype, pixel_limits, **options)
    if policy.adapter_folder is not None:
        model = _put_adapter(model, policy.adapter_folder)
    return model, processor


def _put_adapter(model: Any, folder: Path) -> Any:
    """Frozen, and active under the name START.

    Not by PEFT's own loading: that takes a pickle where it finds no safetensors.
    """
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    config = LoraConfig.from_pretrained(str(folder))
    adapted = get_peft_model(model, config, adapter_name=START, autocast_adapter_dtype=False)
    weights = load_file(folder / WEIGHTS_FILE)
    result: Any = set_peft_model_state_dict(adapted, weights, adapter_name=START)
    lost = [*result.unexpected_keys, *(key for key in result.missing_keys if ".lora_" in key)]
    if lost:
        raise ValueError(
            f"{folder} is no adapter of the model it goes onto ({lost[0]}, and {len(lost) - 1} "
            "more differ); name another policy"
        )
    for weight in adapted.parameters():
        weight.requires_grad = False
    return adapted


def save_adapter(
    state: Mapping[str, Tensor], settings: Mapping[str, Any], folder: Path, dtype: torch.dtype
) -> None:
    """In PEFT's format, the same bytes in every process and on every machine.

    `state` as of get_peft_model_state_dict, `settings` as of LoraConfig.to_dict.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.to("cpu", dtype).contiguous() for name, weight in state.items()}
    save_file(weights, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    plain = dict(settings) | {"target_modules": sorted(settings["target_modules"])}
    text = json.dumps(plain, indent=2, sort_keys=True)
    (folder / CONFIG_FILE).write_text(text + "\n")


def save_merged(policy: PolicyRef, dtype: str, folder: Path) -> None:
    """Whole weights of a policy that is an adapter on its base, as transformers saves them."""
    model, _ = load_model(policy, dtype)
    model.merge_and_unload().save_pretrained(folder)
