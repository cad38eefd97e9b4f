"""The shape every stage shares: a key, a look into the store, work, one commit.

A stage is a module of perpo_core with

    KIND, VERSION                                  raised when the stage's meaning changes
    compute_key(config, policy, *parents) -> str   what is asked
    run(context, key, *parents) -> Artifact        the work; resumes parts it finds in its workspace

`find_or_make` below is the rest. The store alone decides about reuse, whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from perpo_core.policy.stamps import unchanged
from perpo_core.store.locks import lock_artifact
from perpo_core.store.store import Store
from perpo_core.store.workspace import Workspace
from schemas.artifact import AnyArtifact, Artifact
from schemas.config import RefreshConfig
from schemas.run import PolicyRef


def _say_nothing(message: str) -> None:
    del message


def _show_nothing(done: float, total: float, unit: str) -> None:
    del done, total, unit


class Asked(str):
    """A key that knows what it was computed from, for whoever makes what it asks for."""

    inputs: Any

    def __new__(cls, key: str, inputs: Any) -> Asked:
        asked = super().__new__(cls, key)
        asked.inputs = inputs
        return asked


@dataclass(frozen=True)
class StageContext:
    """What every stage needs besides its parents."""

    store: Store
    config: RefreshConfig
    policy: PolicyRef
    """The policy being improved, resolved."""
    force: bool = False
    """Make a new attempt even if the store has the artifact."""
    log: Callable[[str], None] = _say_nothing
    progress: Callable[[float, float, str], None] = _show_nothing
    """progress(done, total, unit), e.g. (512, 2048, "prompts")."""
    profile: Path | None = None
    """Folder for torch profiles of the stage's child processes, as `--profile` asks: for who looks
    on, and no part of any key or artifact. None: none are taken."""

    def open_workspace(self, kind: str, key: str) -> Workspace:
        return self.store.open_workspace(kind, key, self.force)

    def find(self, kind: str, key: str, log: Callable[[str], None] | None = None) -> Any:
        """The store's artifact, verified; None if there is none, or it is to be made anew."""
        return None if self.force else self.store.find(kind, key, log)

    def make_alone(self, kind: str, key: str, make: Callable[[], Any]) -> tuple[Any, bool]:
        """Make and commit an artifact, and whether another run did so in the meantime.

        Two runs of different names may ask for the same: one makes it, the other waits for it.
        Raises InputChanged if a file of the policy changed meanwhile.
        """

        def say_waiting() -> None:
            self.log(f"waiting for another run that makes the same {kind}")

        with lock_artifact(self.store, kind, key, say_waiting):
            if found := self.find(kind, key):
                return found, True
            with unchanged(self.policy):
                made = make()
            return self.store.commit(made, self.log), False


class Stage(Protocol):
    """A module that makes one kind of artifact."""

    KIND: str
    VERSION: int

    def compute_key(self, config: RefreshConfig, policy: PolicyRef, *parents: Any) -> str: ...

    def run(self, context: StageContext, key: str, *parents: Any) -> AnyArtifact: ...


@dataclass(frozen=True)
class StageResult:
    """An artifact, and whether the store had it."""

    artifact: Any
    reused: bool
    seconds: float


def find_or_make(context: StageContext, stage: Stage, *parents: Artifact) -> StageResult:
    """The stage's artifact: from the store if it is there and verifies, else made and committed."""
    started = time.monotonic()
    key = stage.compute_key(context.config, context.policy, *parents)
    artifact = context.find(stage.KIND, key, context.log)
    reused = artifact is not None
    if reused:
        context.store.remove_scratch(artifact)  # of a run that was killed right after its commit
    else:
        artifact, reused = context.make_alone(
            stage.KIND, key, lambda: stage.run(context, key, *parents)
        )
    return StageResult(artifact, reused, time.monotonic() - started)
