"""What a checkpoint holds of the model, and which one a killed run resumes from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint

TRAINED_FILE = "trained.safetensors"


def save_trained(model: nn.Module, checkpoint: Path) -> None:
    """The weights that training changes, under the model's own names and in their own precision."""
    trained = {name: weight.detach().contiguous() for name, weight in _list_trained(model)}
    checkpoint.mkdir(parents=True, exist_ok=True)
    save_file(trained, checkpoint / TRAINED_FILE)


@torch.no_grad()
def load_trained(model: nn.Module, checkpoint: Path) -> None:
    """The inverse of save_trained; raises ValueError where the checkpoint is of another setting."""
    saved = load_file(checkpoint / TRAINED_FILE)
    trained = dict(_list_trained(model))
    if saved.keys() != trained.keys():
        different = sorted(saved.keys() ^ trained.keys())
        raise ValueError(
            f"{checkpoint} holds other weights than are trained now ({different[0]}, and "
            f"{len(different) - 1} more); remove {checkpoint.parent} to train from the start"
        )
    for name, weight in trained.items():
        weight.copy_(saved[name])


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
