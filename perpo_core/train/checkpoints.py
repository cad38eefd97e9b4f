"""Which of the Trainer's checkpoints a killed run resumes from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint


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
