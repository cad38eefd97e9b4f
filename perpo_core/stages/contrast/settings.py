"""How the two contrastive policies are trained: the train section with what [contrast] says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.config import RefreshConfig
from schemas.run import ContrastSide
from schemas.train_config import ObjectiveName, TrainConfig

OBJECTIVES: dict[str, ObjectiveName] = {"dpo": "perpo", "sft": "sft"}
TAKEN_OVER = {"learning_rate", "epochs", "beta", "lora_rank", "lora_alpha"}
# Adapters on the language model alone, from the start policy, with no further term.
FIXED: dict[str, Any] = {
    "adapter": "lora", "projector_learning_rate": None, "vision_learning_rate": None,
    "reference": "start", "reference_logps": "computed", "extra_references": [],
    "nll_weight": 0.0, "conditional_weight": 0.0, "anchor_weight": 0.0,
    "degree_weight": 0.0, "trackers": [],
}  # fmt: skip


def list_instructions(config: RefreshConfig) -> Mapping[ContrastSide, str]:
    """Of each of the two where they are told and not trained; {} where they are trained."""
    if config.contrast.by != "prompt":
        return {}
    return {"better": config.contrast.good_instruction, "worse": config.contrast.bad_instruction}


def derive_training(config: RefreshConfig) -> RefreshConfig:
    """The configuration of both trainings, which differ in the order of the lists alone."""
    contrast = config.contrast
    own = {"objective": OBJECTIVES[contrast.by], **contrast.model_dump(include=TAKEN_OVER), **FIXED}
    train = TrainConfig.model_validate(config.train.model_dump() | own)
    return config.model_copy(update={"train": train})
