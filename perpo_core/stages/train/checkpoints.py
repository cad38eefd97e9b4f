"""What a checkpoint holds of the model, and which one a killed run resumes from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

TRAINED_FILE = "trained.safetensors"


def save_trained(
    model: nn.Module, checkpoint: Path, state: Mapping[str, Tensor] | None = None
) -> None:
    """The weights that training changes, under the model's own names and in their own precision.

    `state` holds them whole where the model's own are sharded.
    """
    trained = {
        name: (weight if state is None else state[name]).detach().contiguous()
        for name, weight in _list_trained(model)
    }
    checkpoint.mkdir(parents=True, exist_ok=True)
    save_file(trained, checkpoint / TRAINED_FILE)


@torch.no_grad()
def load_trained(model: nn.Module, checkpoint: Path) -> None:
    """The inverse of save_trained; raises ValueError where the checkpoint is of another setting."""
    saved: dict[str, Any] = load_file(checkpoint / TRAINED_FILE)
    trained = dict(_list_trained(model))
    if saved.keys() != trained.keys():
        different = sorted(saved.keys() ^ trained.keys())
        raise ValueError(
            f"{checkpoint} holds other weights than are trained now ({different[0]}, and "
            f"{len(different) - 1} more); remove {checkpoint.parent} to train from the start"
        )
    # Also into sharded weights; the frozen ones are not in the file.
    options = StateDictOptions(full_state_dict=True, strict=False)
    set_model_state_dict(model, saved, options=options)


def _list_trained(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Tied weights once."""
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def find_checkpoint(work: Path) -> str | None:
    """The last whole checkpoint below `work`; later ones that a kill cut short are removed."""
    while work.is_dir() and (last := get_last_checkpoint(str(work))) is not None:
        if is_whole(Path(last)):
            return last
        shutil.rmtree(last)
    return None


def is_whole(checkpoint: Path) -> bool:
    """Whether the Trainer finished writing it: its state is the last file, one JSON object."""
    path = checkpoint / TRAINER_STATE_NAME
    if not path.is_file():
        return False
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True
