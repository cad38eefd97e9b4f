"""The parts of a vision-language model that train at rates of their own, by family.

Beside them the head that tells degrees, which is no part of the model.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from perpo_core.stages.train.degree_head import PREFIX
from schemas.train_config import TrainConfig

Part = Literal["language", "projector", "vision", "degree_head"]

# Names of modules and parameters below `model.`; what is none of these is language.
PROJECTORS = (
    "connector", "multi_modal_projector", "image_newline", "visual.merger",
    "visual.deepstack_merger_list",
)  # fmt: skip
TOWERS = ("vision_model", "vision_tower", "visual")


def name_part(parameter: str) -> Part:
    """The part a parameter belongs to, by its full name, adapters or not.

    >>> name_part("model.visual.merger.mlp.0.weight"), name_part("model.visual.blocks.0.norm.bias")
    ('projector', 'vision')
    """
    if parameter.startswith(PREFIX):
        return "degree_head"
    for part, names in (("projector", PROJECTORS), ("vision", TOWERS)):
        if any(f".model.{name}." in f".{parameter}." for name in names):
            return part  # type: ignore[return-value]
    return "language"


def choose_learning_rate(part: Part, config: TrainConfig) -> float | None:
    """Peak learning rate of a part; None: it is frozen."""
    if part == "degree_head":
        return config.degree_learning_rate
    if part == "vision":
        return config.vision_learning_rate
    if part == "projector" and (config.projector_learning_rate or config.adapter == "lora"):
        return config.projector_learning_rate
    return config.learning_rate


def find_language_linears(model: Any) -> list[str]:
    """Full names of the linear layers of the language model."""
    decoder = model.get_decoder()
    inside = {id(module) for module in decoder.modules()}
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and id(module) in inside
    ]


def group_parameters(
    model: nn.Module, config: TrainConfig, decayed: set[str]
) -> list[dict[str, Any]]:
    """What is trained, as AdamW takes it: a group for every learning rate and weight decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            rate = choose_learning_rate(name_part(name), config)
            assert rate is not None
            decay = config.weight_decay if name in decayed else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    return [
        {"params": members, "lr": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]
