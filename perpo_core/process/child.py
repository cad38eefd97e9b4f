"""The child's side of perpo_core.process.parent: read the job, report events.

    job = load_job(TrainJob)                       # first, before heavy imports where possible
    emit("progress", done=3, total=10, unit="steps")
    emit("log", message="...")
    emit("result", files=[...])                    # once; what run_child returns

Events are JSON lines on what was stdout at the start. From load_job on, descriptor 1 is stderr, so
that nothing a library prints, natively or from Python, can get between two events. Of several
processes of one job (torchrun's ranks) only the first is heard; the others' events go nowhere.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from perpo_core.process.environment import apply_defaults

Model = TypeVar("Model", bound=BaseModel)

_lock = threading.Lock()
_events_fd: int | None = None


def load_job(model: type[Model]) -> Model:
    """The job named by the first argument; from here on stdout belongs to the events."""
    apply_defaults()
    _claim_stdout()
    return model.model_validate_json(Path(sys.argv[1]).read_bytes())


def emit(event: str, **fields: Any) -> None:
    """Report one event; thread-safe. Fields are JSON values.

    Raises:
        RuntimeError: before load_job.
        BrokenPipeError: the parent has gone.
    """
    if _events_fd is None:
        raise RuntimeError(f"emit({event!r}) before load_job: call load_job first")
    if os.environ.get("RANK", "0") != "0":
        return
    # ASCII only, so that any text survives any locale, lone surrogates included.
    _write_all(_events_fd, json.dumps({"event": event, **fields}).encode() + b"\n")


def _claim_stdout() -> None:
    global _events_fd
    if _events_fd is not None:
        return
    sys.stdout.flush()
    _events_fd = os.dup(1)  # not inherited by what the child starts
    os.dup2(2, 1)
    _write_all(_events_fd, b"\n")  # ends a line that an import may have begun


def _write_all(fd: int, content: bytes) -> None:
    with _lock:
        while content:
            content = content[os.write(fd, content) :]
