"""Loading a policy for training, choosing what is trained, and saving the result."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoModelForImageTextToText, AutoProcessor

from schemas.config import TrainConfig

WEIGHT_FILES = (
    "*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json",
)  # fmt: skip


def load_policy(folder: Path, dtype: str) -> tuple[Any, Any]:
    """(model, processor) of a policy folder; safetensors only, no code of the folder is run."""
    model = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        attn_implementation="sdpa",
        use_safetensors=True,
        trust_remote_code=False,
    )
    return model, AutoProcessor.from_pretrained(folder, trust_remote_code=False)


def choose_trained(model: Any, config: TrainConfig) -> Any:
    """Freeze what is not trained; with LoRA, wrap the model.

    As in the paper's runs, adapters sit on every linear layer of the language model and on nothing
    else: not the projector, the vision tower or the output head.
    """
    if config.adapter == "lora":
        return get_peft_model(
            model,
            LoraConfig(
                r=config.lora_rank,
                lora_alpha=config.lora_alpha,
                lora_dropout=0.0,  # parity with the reference holds without dropout only
                target_modules=find_language_linears(model),
            ),
        )
    if not config.train_vision:
        for parameter in find_vision_tower(model).parameters():
            parameter.requires_grad = False
    return model


def find_language_linears(model: Any) -> list[str]:
    """Full names of the linear layers of the language model."""
    decoder = model.get_decoder()
    inside = {id(module) for module in decoder.modules()}
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and id(module) in inside
    ]


def find_vision_tower(model: Any) -> nn.Module:
    """The vision tower, under the name its family gives it."""
    for name in ("vision_model", "vision_tower", "visual"):
        tower = getattr(model.model, name, None)
        if tower is not None:
            assert isinstance(tower, nn.Module)
            return tower
    raise ValueError(f"no vision tower found in {type(model).__name__}; add its name here")


def save_policy(model: Any, base_folder: Path, folder: Path) -> None:
    """Write a complete policy folder: merged weights, the base's processor files as they are."""
    merged = model.merge_and_unload() if isinstance(model, PeftModel) else model
    folder.mkdir(parents=True, exist_ok=True)
    merged.save_pretrained(folder)
    weight_files = {path.name for pattern in WEIGHT_FILES for path in base_folder.glob(pattern)}
    for path in sorted(base_folder.iterdir()):
        if path.is_file() and path.name not in weight_files:
            shutil.copyfile(path, folder / path.name)
