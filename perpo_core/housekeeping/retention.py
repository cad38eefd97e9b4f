"""What of a store is kept: the last runs of each name and everything they rest on.

Kept are the last N completed runs of each name and every run since the oldest of them, but none of
a name that is to be forgotten; of those the artifacts of every stage, their parents up to the
samples (so also the held-out answers that an evaluation compares), reference log-probabilities and
degraded answers of lists that are kept, and the folder of every policy that they started from or
name in their configuration. Kept are the promoted policy and the one that
`perpo rollback --previous` goes to. A policy is kept without what it was made of, else the chain of
rounds would keep every night for ever; but where it is an adapter, with the weights that this goes
onto.

A run record or a kept artifact that cannot be read would keep nobody knows what, and so would a
pointer of which nothing tells: as long as there is one, nothing is removed (`list_unknown`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from perpo_core.promotion.pointer import (
    CURRENT,
    MODEL_FOLDER,
    Pointer,
    find_previous,
    is_lost,
    load_promoted,
)
from perpo_core.store.base import PLACE_FILE, find_stored_base
from perpo_core.store.store import KEY, KINDS, Store, name_artifact, parse_artifact
from perpo_core.store.workspace import SIDECAR_SUFFIX
from schemas.run import RunRecord

ATTEMPT = re.compile(r"attempt-(\d+)")
TABLES_OF_LISTS = ("references", "degraded")
Name = tuple[str, str]
"""Kind and key of an artifact."""
Attempt = tuple[str, str, int]
"""Those, and which attempt."""


@dataclass
class Kept:
    """What no clean-up may touch."""

    artifacts: set[Name] = field(default_factory=set)
    """With the attempt that artifact.json points at."""
    attempts: set[Attempt] = field(default_factory=set)
    """Attempts whose folder something names, whatever artifact.json points at."""

    lent: set[str] = field(default_factory=set)
    """Files, below the store, of whatever artifact, that a kept one shares."""

    def holds(self, kind: str, key: str) -> bool:
        return (kind, key) in self.artifacts or any(a[:2] == (kind, key) for a in self.attempts)


def choose_runs(
    records: Sequence[RunRecord], num_keep: int, forget: Sequence[str] = ()
) -> list[RunRecord]:
    """The last `num_keep` completed runs of each name, and every run since; oldest first.

    Unfinished runs in between and after belong to it: somebody may want to resume them. None of a
    name that one of the patterns `forget` fits, such as "evidence-*".
    """
    kept: list[RunRecord] = []
    forgotten = {fitting for pattern in forget for fitting in list_fitting(records, pattern)}
    for name in {record.config.name for record in records} - forgotten:
        runs = [record for record in records if record.config.name == name]
        completed = [record for record in runs if record.status == "completed"]
        since = completed[-num_keep].order if len(completed) > num_keep else None
        kept += [record for record in runs if since is None or record.order >= since]
    return sorted(kept, key=lambda record: record.order)


def list_fitting(records: Sequence[RunRecord], pattern: str) -> list[str]:
    """The runs' names that fit a pattern as a shell has them; capital letters count."""
    return sorted({r.config.name for r in records if fnmatchcase(r.config.name, pattern)})


def find_kept(store: Store, runs: Sequence[RunRecord]) -> Kept:
    """Everything that these runs and the promoted pointer rest on."""
    entries = [(entry.kind, entry.key) for run in runs for entry in run.stages.values()]
    artifacts = _add_parents(store, entries)
    artifacts |= _find_tables(store, artifacts)
    folders = [folder for run in runs for folder in _list_policies(run)]
    folders += [store.root / pointer.folder for pointer in _list_pointers(store) if pointer.folder]
    attempts = {found for folder in folders if (found := find_attempt(store, folder))}
    attempts |= set(_find_bases(store, artifacts, attempts))
    return Kept(artifacts, attempts, _find_lent(store, artifacts))


def _find_lent(store: Store, kept: set[Name]) -> set[str]:
    """With their sidecars: who makes the artifact again finds the part and leaves it as it is."""
    loaded = [artifact for name in kept if (artifact := store.load(*name)) is not None]
    return {
        f"{artifact.kind}/{file.home}{suffix}"
        for artifact in loaded
        for file in artifact.files
        if file.home is not None
        for suffix in ("", SIDECAR_SUFFIX)
    }


def list_unknown(store: Store, runs: Sequence[RunRecord]) -> list[str]:
    """Names of the files, run records aside, that cannot be read and would say what to keep.

    `runs` are the kept ones.
    """
    entries = {(entry.kind, entry.key) for run in runs for entry in run.stages.values()}
    names = [name_artifact(*entry) for entry in sorted(_add_parents(store, entries))]
    bodies = [(name, store.read(name)) for name in names]
    damaged = [name for name, body in bodies if body is not None and parse_artifact(body) is None]
    damaged += _list_lost_bases(store, runs)
    return [*([CURRENT] if is_lost(store) else []), *damaged]


def _find_bases(store: Store, artifacts: set[Name], attempts: set[Attempt]) -> Iterator[Attempt]:
    """Attempts whose weights a kept policy's adapter goes onto; those have weights themselves."""
    for checkpoint in _list_checkpoints(store, artifacts, attempts):
        with suppress(ValueError):  # list_unknown names it, and then nothing goes
            base = find_stored_base(store, checkpoint)
            found = find_attempt(store, base) if base else None
            if found:
                yield found


def _list_lost_bases(store: Store, runs: Sequence[RunRecord]) -> Iterator[str]:
    """Names of what says where a kept adapter's base lies, and is damaged."""
    kept = find_kept(store, runs)
    for checkpoint in _list_checkpoints(store, kept.artifacts, kept.attempts):
        try:
            find_stored_base(store, checkpoint)
        except ValueError:
            yield (checkpoint.parent / PLACE_FILE).relative_to(store.root).as_posix()


def _list_checkpoints(store: Store, artifacts: set[Name], attempts: set[Attempt]) -> Iterator[Path]:
    """Folders of the policies among these."""
    found = {attempt for attempt in attempts if attempt[0] == "checkpoint"}
    for kind, key in artifacts:
        if kind == "checkpoint" and (committed := store.load(kind, key)) is not None:
            found.add((kind, key, committed.attempt))
    return (store.folder(*each) / MODEL_FOLDER for each in sorted(found))


def _add_parents(store: Store, names: Iterable[Name]) -> set[Name]:
    found: set[Name] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        artifact = store.load(*name)
        waiting += [(parent.kind, parent.key) for parent in artifact.parents] if artifact else []
    return found


def _find_tables(store: Store, kept: set[Name]) -> set[Name]:
    """No artifact names the tables that its training read; their lists do."""
    names = [(kind, key) for kind in TABLES_OF_LISTS for key in store.list_keys(kind)]
    loaded = {name: store.load(*name) for name in names}
    return {
        name
        for name, table in loaded.items()
        if table and any((parent.kind, parent.key) in kept for parent in table.parents)
    }


def _list_policies(run: RunRecord) -> Iterator[Path]:
    """Folders a run needs to be run again; hub ids and names give paths that do not matter."""
    yield run.policy_folder
    named = [run.config.policy.model, run.config.policy.base, *run.config.train.extra_references]
    yield from (Path(name).expanduser().absolute() for name in named if name)


def _list_pointers(store: Store) -> Iterator[Pointer]:
    current = load_promoted(store)
    if current is None:
        return
    yield current
    try:
        yield find_previous(store)
    except ValueError:  # nothing before it, or not known any more
        return


def find_attempt(store: Store, path: Path) -> Attempt | None:
    """Kind, key and attempt of the artifact that a path lies in; None outside of artifacts."""
    inside = store.locate(path)
    parts = inside.parts if inside else ()
    if len(parts) < 2 or parts[0] not in KINDS or not KEY.fullmatch(parts[1]):
        return None
    numbered = ATTEMPT.fullmatch(parts[2]) if len(parts) > 2 else None
    return parts[0], parts[1], int(numbered[1]) if numbered else 0
