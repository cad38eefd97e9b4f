"""A stage's progress as a Prefect progress artifact and on the terminal.

Each update of the artifact is a call to the server, so they are throttled; the terminal gets
every one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from schemas.base import StageName
from tasks.aside import told_aside
from tasks.watch import get_watcher

UPDATE_EVERY_S = 2.0  # a page in the UI polls no faster


@dataclass
class Progress:
    """Callable as StageContext.progress: (done, total, unit)."""

    stage: StageName
    artifact_id: UUID | None = None
    last_update_s: float = float("-inf")

    def __call__(self, done: float, total: float, unit: str) -> None:
        get_watcher().progress(self.stage, done, total, unit)
        now_s = time.monotonic()
        if done < total and now_s - self.last_update_s < UPDATE_EVERY_S:
            return
        self.last_update_s = now_s
        percent = 100.0 * done / total if total else 100.0
        with told_aside("progress"):
            self._update(percent, f"{done:,.0f} of {total:,.0f} {unit}")

    def _update(self, percent: float, description: str) -> None:
        percent = min(percent, 100.0)  # an estimate of the total may have been low
        if self.artifact_id is None:
            created = create_progress_artifact(
                percent, key=f"perpo-{self.stage}", description=description
            )
            assert isinstance(created, UUID), "a coroutine only where an event loop runs"
            self.artifact_id = created
        else:
            update_progress_artifact(self.artifact_id, percent, description)
