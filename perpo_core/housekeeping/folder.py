"""Garbage of a store in a folder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from perpo_core.housekeeping.found import Garbage
from perpo_core.housekeeping.retention import ATTEMPT, Kept, find_kept
from perpo_core.store.store import (
    ARTIFACT_FILE,
    CURVES,
    KINDS,
    LOCK_FILE,
    PROFILES,
    REPORTS,
    YOUNG_S,
    Store,
)
from perpo_core.store.workspace import SCRATCH
from schemas.run import RunRecord

TRASH = ".trash"


def find_folder_garbage(
    store: Store, records: Sequence[RunRecord], runs: Sequence[RunRecord], now_s: float
) -> list[Garbage]:
    """Everything that may go when of all `records` these `runs` are kept (choose_runs)."""
    kept, known = find_kept(store, runs), find_kept(store, records)
    garbage = [
        found
        for kind in KINDS
        for key in store.list_keys(kind)
        for found in _check_artifact(store, kind, key, kept, known, now_s)
    ]
    garbage += _find_pages(store, records, {run.run_id for run in runs})
    garbage += _find_curves(store, garbage)
    trash = store.root / TRASH
    return garbage + [_describe("trash", p.name, (p,)) for p in _list(trash)]


def _check_artifact(
    store: Store, kind: str, key: str, kept: Kept, known: Kept, now_s: float
) -> Iterator[Garbage]:
    """The artifact, or those of its attempts that nothing points at, or what a kill right after
    its commit left."""
    folder = store.folder(kind, key)
    if kept.holds(kind, key):
        yield from _find_stale_attempts(store, kind, key, kept, now_s)
    elif (known.holds(kind, key) or not is_young((folder,), now_s)) and (
        paths := _list_unlent(store, folder, kept)
    ):
        yield _describe(kind, key[:12], paths)


def _list_unlent(store: Store, place: Path, kept: Kept) -> tuple[Path, ...]:
    """A folder or file, or what of it no kept artifact shares; the commit first."""
    lent = {store.root / name for name in kept.lent}
    if not any(path.is_relative_to(place) for path in lent):
        return (place,)
    paths = [path for path in _walk(place) if not path.is_dir() and path not in lent]
    return tuple(sorted(paths, key=lambda path: path.name != ARTIFACT_FILE))


def _find_stale_attempts(
    store: Store, kind: str, key: str, kept: Kept, now_s: float
) -> Iterator[Garbage]:
    committed = store.load(kind, key)
    if committed is None:  # damaged or unfinished, and a kept run may make it whole again
        return
    used = {committed.attempt} | {a[2] for a in kept.attempts if a[:2] == (kind, key)}
    for number in sorted(used):
        scratch = store.folder(kind, key, number) / SCRATCH
        if scratch.is_dir() and not is_young((scratch,), now_s):
            yield _describe(kind, f"{key[:12]}, {SCRATCH}", (scratch,))
    for number, paths in sorted(_list_attempts(store.folder(kind, key)).items()):
        unfinished = number > committed.attempt
        if number not in used and not (unfinished and is_young(paths, now_s)):
            going = [each for path in paths for each in _list_unlent(store, path, kept)]
            if going:
                yield _describe(kind, f"{key[:12]}, attempt {number}", tuple(going))


def _list_attempts(folder: Path) -> dict[int, tuple[Path, ...]]:
    """Attempt -> what lies in the artifact's folder of it; attempt 0 lies beside the others."""
    attempts: dict[int, tuple[Path, ...]] = {}
    for path in _list(folder):
        if path.name in (ARTIFACT_FILE, LOCK_FILE):
            continue
        numbered = ATTEMPT.fullmatch(path.name)
        number = int(numbered[1]) if numbered else 0
        attempts[number] = (*attempts.get(number, ()), path)
    return attempts


def _find_pages(store: Store, records: Sequence[RunRecord], kept: set[str]) -> Iterator[Garbage]:
    for run_id in [record.run_id for record in records if record.run_id not in kept]:
        page = store.root / REPORTS / run_id / "report.html"
        if page.is_file():
            yield _describe(REPORTS, run_id, (page,))
        profiles = store.root / PROFILES / run_id
        if profiles.is_dir():
            yield _describe(PROFILES, run_id, (profiles,))


def _find_curves(store: Store, garbage: Sequence[Garbage]) -> Iterator[Garbage]:
    """Folders such as "digits-0123456789ab" of checkpoints that are gone or go now."""
    going = {path for found in garbage for path in found.paths}
    keys = [k for k in store.list_keys("checkpoint") if store.folder("checkpoint", k) not in going]
    staying = {key[:12] for key in keys}
    for folder in _list(store.root / CURVES):
        if folder.name.rpartition("-")[2] not in staying:
            yield _describe(CURVES, folder.name, (folder,))


def remove_folder_garbage(store: Store, garbage: Sequence[Garbage]) -> None:
    """Take all of it out of readers' sight, each thing at once, and delete it."""
    trash = store.root / TRASH
    trash.mkdir(parents=True, exist_ok=True)
    for found in garbage:
        place = Path(tempfile.mkdtemp(dir=trash, prefix=f"{found.kind}-"))
        for number, path in enumerate(found.paths):  # attempts have files of the same names
            path.rename(place / f"{number}-{path.name}")
        shutil.rmtree(place)
    shutil.rmtree(trash)


def _describe(kind: str, what: str, paths: tuple[Path, ...]) -> Garbage:
    files = [file for path in paths for file in _walk(path) if not file.is_dir()]
    return Garbage(kind, what, paths, sum(file.lstat().st_size for file in files))


def is_young(paths: Sequence[Path], now_s: float) -> bool:
    newest_s = max(found.lstat().st_mtime for path in paths for found in _walk(path))
    return now_s - newest_s < YOUNG_S


def _walk(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.rglob("*")


def _list(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []
