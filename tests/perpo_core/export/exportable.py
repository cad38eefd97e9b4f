"""Runs to export: a finished run whose checkpoint holds real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perpo_core.store.atomic import write_atomic
from perpo_core.store.keys import compute_digest, compute_hash
from perpo_core.store.store import Store
from perpo_core.store.workspace import describe_file
from schemas.artifact import Checkpoint
from schemas.run import RunRecord


def with_checkpoint(
    store: Store, run: RunRecord, files: dict[str, bytes], **changes: Any
) -> RunRecord:
    """The run with another checkpoint, committed to the store; `changes` are its fields."""
    stage = run.stages["train"]
    made = store.load(stage.kind, stage.key)
    assert isinstance(made, Checkpoint)
    names = {name: compute_hash(content.hex()) for name, content in files.items()}
    key = compute_hash(["exportable", names, str(changes)])
    workspace = store.open_workspace(made.kind, key)
    for name, content in files.items():
        write_atomic(workspace.folder / name, content)
    refs = [describe_file(workspace.folder / name, name) for name in sorted(files)]
    changed = {"key": key, "digest": compute_digest(refs), "files": refs, **changes}
    checkpoint = store.commit(made.model_copy(update=changed))
    record = stage.model_copy(update={"key": key, "digest": checkpoint.digest})
    return run.model_copy(update={"stages": {**run.stages, "train": record}})


def read_tree(folder: Path, prefix: str) -> dict[str, bytes]:
    """The files of a folder as a checkpoint names them."""
    return {
        f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def with_config(run: RunRecord, section: str, **values: Any) -> RunRecord:
    """The run with other settings in its recorded configuration."""
    changed = getattr(run.config, section).model_copy(update=values)
    config = run.config.model_copy(update={section: changed})
    return run.model_copy(update={"config": config})
