"""Loading a policy for training, and choosing what is trained.

What is trained is held in float32 whatever `policy.dtype` says, since steps of 5e-6 would be lost
in bfloat16; what is frozen stays as it is. `describe_precision` names the combination.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import BitsAndBytesConfig

from perpo_core.policy.loading import START, load_model
from perpo_core.stages.train.degree_head import DegreeHead
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


def load_for_training(
    policy: PolicyRef,
    dtype: str,
    config: TrainConfig,
    device: torch.device,
    pixel_limits: PixelLimits = NO_LIMITS,
) -> tuple[Any, Any]:
    """load_model on a device; with `quantize`, the language model's linear layers in 4 bits."""
    if config.quantize == "none":
        model, processor = load_model(policy, dtype, pixel_limits)
        return model.to(device), processor
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        llm_int8_skip_modules=[f"model.{name}" for name in (*PROJECTORS, *TOWERS)] + ["lm_head"],
    )
    model, processor = load_model(
        policy, dtype, pixel_limits, quantization_config=quantization, device_map={"": device}
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
    else: projector and vision tower train whole, if at all, and the output head does not. New ones
    come beside those that the policy is made of, which stay as they are.
    """
    if isinstance(model, PeftModel) and config.adapter == "full":
        model = model.merge_and_unload()
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
    return ListPolicy(model, narrow, _build_degree_head(model, config))


def _build_degree_head(model: Any, config: TrainConfig) -> DegreeHead | None:
    """Where the model is; None where no degree is told."""
    if not config.degree_weight:
        return None
    base: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    head = DegreeHead(base.get_decoder().config.hidden_size, config.degrees)
    return head.to(base.device)


def _adapt(model: Any, config: TrainConfig) -> Any:
    whole = [weight for weight in model.parameters() if weight.requires_grad]
    adapted = add_adapter(
        model,
        LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            lora_dropout=0.0,  # parity with the reference holds without dropout only
            target_modules=_find_targets(model),
        ),
    )
    for weight in whole:  # PEFT freezes all but its adapters
        weight.requires_grad = True
    return adapted


def _find_targets(model: Any) -> list[str]:
    """Linear layers of the language model, which an adapter that is there already names."""
    if isinstance(model, PeftModel):
        settings: Any = model.peft_config[START]
        return sorted(settings.target_modules)
    return find_language_linears(model)


def add_adapter(model: Any, settings: Any) -> Any:
    """A new adapter, active and trainable, and frozen beside it the policy's own."""
    if not isinstance(model, PeftModel):
        return get_peft_model(model, settings)
    tuner: Any = model.base_model
    model.add_adapter("default", settings)
    tuner.set_adapter([START, "default"])
    for name, weight in model.named_parameters():
        if f".{START}." in name:
            weight.requires_grad = False
    return model
