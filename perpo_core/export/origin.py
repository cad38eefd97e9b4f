"""Where a run's start policy comes from, by a name that means something on another machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.store.store import Store
from schemas.artifact import Checkpoint
from schemas.run import RunRecord

COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Origin:
    """The model that training goes back to."""

    name: str
    """A hub id, "builtin", or the last component of a folder; never a path."""
    revision: str | None = None
    """The hub's commit, where the model came from there."""
    is_on_hub: bool = False
    earlier_runs: tuple[str, ...] = ()
    """Runs between that model and this run's start, the nearest first ("promoted", rounds)."""
    digest: str | None = field(default=None, compare=False)
    """Of its content."""


def find_origin(store: Store, run: RunRecord, records: Sequence[RunRecord]) -> Origin:
    """The start of the run, or of the earlier rounds whose result it starts from."""
    chain = [run]
    while _starts_from_a_run(store, chain[-1]):
        earlier = _find_maker(store, chain[-1], [r for r in records if r not in chain])
        if earlier is None:
            break
        chain.append(earlier)
    return _name_start(chain[-1], tuple(record.run_id for record in chain[1:]))


def _starts_from_a_run(store: Store, run: RunRecord) -> bool:
    """Whether its policy came out of another run, of whatever name the configuration has for it."""
    inside = store.locate(run.policy_folder)
    is_trained = inside is not None and inside.parts[:1] == (
        Checkpoint.model_fields["kind"].default,
    )
    return run.config.policy.model == "promoted" or is_trained


def _find_maker(store: Store, run: RunRecord, others: list[RunRecord]) -> RunRecord | None:
    """The latest earlier run that trained what this run starts from."""
    made = (other for other in reversed(others) if other.order < run.order)
    return next((o for o in made if _load_trained_digest(store, o) == run.policy_digest), None)


def _load_trained_digest(store: Store, run: RunRecord) -> str | None:
    """What the run trained; None if nothing new, or no longer in the store."""
    stage = run.stages.get("train")
    artifact = store.load(stage.kind, stage.key) if stage else None
    if stage is None or not isinstance(artifact, Checkpoint) or artifact.digest != stage.digest:
        return None
    return artifact.policy_digest if artifact.chosen_step else None


def _name_start(run: RunRecord, earlier_runs: tuple[str, ...]) -> Origin:
    model, folder = run.config.policy.model, run.policy_folder
    if model == "promoted":  # nothing was promoted yet, or its run is gone
        model = "builtin" if folder.name == BUILTIN_FOLDER.name else model
    if f"models--{model.replace('/', '--')}" in folder.parts:  # the hub's local cache
        revision = folder.name if COMMIT.fullmatch(folder.name) else None
        return Origin(model, revision, True, earlier_runs, run.policy_digest)
    return Origin(Path(model).name, earlier_runs=earlier_runs, digest=run.policy_digest)
