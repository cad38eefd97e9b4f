"""Loading a policy for training, choosing what is trained, and saving the result.

What is trained is held in float32 whatever `policy.dtype` says, since steps of 5e-6 would be lost
in bfloat16; what is frozen stays as it is. `describe_precision` names the combination.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

from perpo_core.policy.processor import load_processor
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.parts import (
    PROJECTORS,
    TOWERS,
    choose_learning_rate,
    find_language_linears,
    name_part,
)
from schemas.base import NO_LIMITS, PixelLimits
from schemas.run import PolicyRef
from schemas.train_config import TrainConfig

# Of a base folder, what belongs to its own weights, in whatever format they lie beside each other.
WEIGHT_FILES = (
    "*.safetensors", "*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.gguf", "*.index.json",
    "config.json", "generation_config.json",
)  # fmt: skip


def load_policy(
    folder: Path, dtype: str, pixel_limits: PixelLimits = NO_LIMITS, **options: Any
) -> tuple[Any, Any]:
    """(model, processor) of a policy folder; safetensors only, no code of the folder is run."""
    model = AutoModelForImageTextToText.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        attn_implementation="sdpa",
        use_safetensors=True,
        trust_remote_code=False,
        **options,
    )
    return model, load_processor(folder, pixel_limits)


def load_for_training(
    policy: PolicyRef,
    dtype: str,
    config: TrainConfig,
    device: torch.device,
    pixel_limits: PixelLimits = NO_LIMITS,
) -> tuple[Any, Any]:
    """load_policy on a device; with `quantize`, the language model's linear layers in 4 bits."""
    if config.quantize == "none":
        model, processor = load_policy(policy.folder, dtype, pixel_limits)
        return model.to(device), processor
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        llm_int8_skip_modules=[f"model.{name}" for name in (*PROJECTORS, *TOWERS)] + ["lm_head"],
    )
    model, processor = load_policy(
        policy.folder,
        dtype,
        pixel_limits,
        quantization_config=quantization,
        device_map={"": device},
    )
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # Else a CPU repacks the weights at the first answer, and gradients through them vanish
            # without a word from then on (bitsandbytes 0.50).
            module.support_avx512bf16_for_cpu = False
    return model, processor


def choose_trained(model: Any, config: TrainConfig) -> ListPolicy:
    """Freeze what is not trained, wrap what LoRA adapts, widen what is trained.

    As in the paper's runs, adapters sit on every linear layer of the language model and nowhere
    else: projector and vision tower train whole, if at all, and the output head does not.
    """
    for name, parameter in model.named_parameters():
        part = name_part(name)
        adapted = part == "language" and config.adapter == "lora"
        trained = not adapted and choose_learning_rate(part, config) is not None
        if parameter.is_floating_point():
            parameter.requires_grad = trained
    if config.adapter == "lora":
        model = _adapt(model, config)
    narrow = any(weight.dtype == torch.bfloat16 for weight in model.parameters())
    for weight in model.parameters():
        if weight.requires_grad and weight.dtype == torch.bfloat16:
            weight.data = weight.data.float()
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return ListPolicy(model, autocast=narrow)


def _adapt(model: Any, config: TrainConfig) -> PeftModel:
    whole = [weight for weight in model.parameters() if weight.requires_grad]
    adapted = get_peft_model(
        model,
        LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=0.0,  # parity with the reference holds without dropout only
            target_modules=find_language_linears(model),
        ),
    )
    for weight in whole:  # PEFT freezes all but its adapters
        weight.requires_grad = True
    return adapted


def save_policy(
    model: ListPolicy, base: Path, dtype: str, folder: Path, adapter_folder: Path
) -> None:
    """A complete policy folder: merged weights, the base's processor files as they are.

    Where adapters are all that was trained, they go to `adapter_folder` besides.
    """
    policy = model.policy
    if isinstance(policy, PeftModel):
        trained = [name for name, weight in policy.named_parameters() if weight.requires_grad]
        if all(name_part(name) == "language" for name in trained):
            _save_adapter(policy, base.name, adapter_folder)
        policy = _merge(policy, base, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    policy.to(getattr(torch, dtype)).save_pretrained(folder)
    _copy_other_files(base, folder)


def _save_adapter(policy: PeftModel, base_name: str, folder: Path) -> None:
    """In PEFT's format, the same bytes in every process and on every machine.

    PEFT writes a set in whatever order it has, the base's folder, and a card of its own.
    """
    policy.save_pretrained(str(folder))
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text())
    settings["target_modules"] = sorted(settings["target_modules"])
    settings["base_model_name_or_path"] = base_name
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def _merge(adapted: PeftModel, base: Path, dtype: str) -> Any:
    """The adapters added to the base's weights, which are read anew where these are in 4 bits."""
    if not getattr(adapted.get_base_model(), "is_quantized", False):
        return adapted.merge_and_unload()
    model, _ = load_policy(base, dtype)
    for name, weight in adapted.get_base_model().named_parameters():
        if weight.requires_grad and ".lora_" not in name:
            model.get_parameter(name).copy_(weight)
    whole = get_peft_model(model, adapted.peft_config["default"])
    set_peft_model_state_dict(whole, get_peft_model_state_dict(adapted))
    return whole.merge_and_unload()


def _copy_other_files(base: Path, folder: Path) -> None:
    weight_files = {path.name for pattern in WEIGHT_FILES for path in base.glob(pattern)}
    for path in sorted(base.iterdir()):
        if path.is_file() and path.name not in weight_files:
            shutil.copyfile(path, folder / path.name)
