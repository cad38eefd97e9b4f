"""What a training leaves: whole weights, or an adapter on the weights that it started from.

The adapter of earlier rounds and the new one are joined into one whose rank is the sum of theirs,
by concatenation, which changes nothing: B1 A1 + B2 A2 = [B1 B2] [A1; A2]. An engine takes one
adapter a request, and a policy then rests on its base and on no earlier round. What it costs: a
round's file grows by the rank of the rounds before it, up to train.max_chain_rank.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

from perpo_core.policy.loading import START, load_model, save_adapter
from perpo_core.stages.train.list_policy import ListPolicy
from perpo_core.stages.train.model import add_adapter
from perpo_core.stages.train.parts import name_part
from perpo_core.store.base import write_base
from schemas.run import ADAPTER, PolicyRef

NEW, JOINED = "default", "joined"  # names of adapters
# Of a base folder, what belongs to its own weights, in whatever format they lie beside each other.
WEIGHT_FILES = (
    "*.safetensors", "*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.gguf", "*.index.json",
)  # fmt: skip
CONFIG_FILES = ("config.json", "generation_config.json")  # written with the weights


def save_on_base(model: ListPolicy, start: PolicyRef, dtype: str, folder: Path) -> None:
    """A policy folder with an adapter for weights: the base's other files, and which base it is.

    In the policy's precision, in which engines compute it.
    """
    base, policy = start.base or start, model.policy
    _save_adapter(policy, _join(policy), None, getattr(torch, dtype), folder / ADAPTER)
    _copy_other_files(base.folder, folder, WEIGHT_FILES)
    write_base(folder, base.digest)


def save_policy(
    model: ListPolicy, start: PolicyRef, dtype: str, folder: Path, adapter_folder: Path
) -> None:
    """A complete policy folder: merged weights, the base's processor files as they are.

    Where adapters are all that was trained, the new one goes to `adapter_folder` besides.
    """
    policy, base = model.policy, start.weights_folder
    if isinstance(policy, PeftModel):
        trained = [name for name, weight in policy.named_parameters() if weight.requires_grad]
        if all(name_part(name) == "language" for name in trained):
            _save_adapter(policy, NEW, base.name, torch.float32, adapter_folder)
        policy = _merge(policy, start, dtype)
    folder.mkdir(parents=True, exist_ok=True)
    policy.to(getattr(torch, dtype)).save_pretrained(folder)
    _copy_other_files(base, folder, (*WEIGHT_FILES, *CONFIG_FILES))


def _join(policy: PeftModel) -> str:
    """The name of the one adapter that does what all of the policy's do."""
    if START not in policy.peft_config:
        return NEW
    tuner: Any = policy.base_model
    tuner.add_weighted_adapter([START, NEW], [1.0, 1.0], JOINED, "cat")
    return JOINED


def _save_adapter(
    policy: PeftModel, name: str, base_name: str | None, dtype: torch.dtype, folder: Path
) -> None:
    state = get_peft_model_state_dict(policy, adapter_name=name, save_embedding_layers=False)
    settings = policy.peft_config[name].to_dict()
    settings |= {"base_model_name_or_path": base_name, "inference_mode": True}
    save_adapter(state, settings, folder, dtype)


@torch.no_grad()
def _merge(adapted: PeftModel, start: PolicyRef, dtype: str) -> Any:
    """The adapters added to the base's weights, which are read anew where these are in 4 bits.

    As one, so that weights of 16 bits are rounded once.
    """
    if not getattr(adapted.get_base_model(), "is_quantized", False):
        return adapted.merge_and_unload(adapter_names=[_join(adapted)])
    model, _ = load_model(start, dtype)
    whole = add_adapter(model, adapted.peft_config[NEW])
    for name, weight in adapted.named_parameters():
        if weight.requires_grad and ".lora_" not in name:
            whole.get_parameter(name).copy_(weight)
    set_peft_model_state_dict(whole, get_peft_model_state_dict(adapted))
    return whole.merge_and_unload(adapter_names=[_join(whole)])


def _copy_other_files(base: Path, folder: Path, left_out: tuple[str, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    own = {path.name for pattern in left_out for path in base.glob(pattern)}
    for path in sorted(base.iterdir()):
        if path.is_file() and path.name not in own:
            shutil.copyfile(path, folder / path.name)
