"""What a training leaves when it has ended, for the parent that commits it.

Between the child's last word and the commit lie hashing and, for a bucket, the upload of the model:
minutes, in which a kill or an expired credential must not cost hours of training. A restart finds
the result here and starts no child.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perpo_core.promotion.pointer import MODEL_FOLDER
from perpo_core.store.atomic import sync_tree, write_atomic
from perpo_core.store.workspace import SCRATCH
from schemas.run import ADAPTER

FILE = "finished.json"


def write_finished(folder: Path, result: dict[str, Any]) -> None:
    """Call it when the model is saved: it is on the disk before the file that tells of it."""
    for name in (MODEL_FOLDER, ADAPTER):
        sync_tree(folder / name)
    write_atomic(folder / SCRATCH / FILE, json.dumps(result).encode())


def load_finished(folder: Path) -> dict[str, Any] | None:
    """The result of a training in this workspace that ended; None if none did."""
    path = folder / SCRATCH / FILE
    if not path.is_file() or not (folder / MODEL_FOLDER).is_dir():
        return None
    try:
        result: Any = json.loads(path.read_bytes())
    except ValueError:  # damaged: the training goes on from its last checkpoint
        return None
    return result if isinstance(result, dict) else None
