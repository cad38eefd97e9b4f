"""Garbage of a store in a bucket: the same rules (perpo_core/housekeeping/__init__.py), by one
listing of it.

An artifact's commit goes first, so that nobody finds an artifact that is going. Files carry their
content in their name, so one may belong to several attempts: it stays while one of them does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from perpo_core.housekeeping import Garbage
from perpo_core.housekeeping.retention import ATTEMPT, Kept, Name, find_kept
from perpo_core.store.bucket.objects import Listed
from perpo_core.store.bucket.store import RemoteStore, name_attempt
from perpo_core.store.bucket.workspace import name_object
from perpo_core.store.store import (
    ARTIFACT_FILE,
    CURVES,
    KEY,
    KINDS,
    PROFILES,
    REPORTS,
    YOUNG_S,
    parse_artifact,
)
from schemas.artifact import AnyArtifact
from schemas.run import RunRecord

Objects = Mapping[str, Listed]


def find_remote_garbage(
    store: RemoteStore, records: Sequence[RunRecord], runs: Sequence[RunRecord], now_s: float
) -> list[Garbage]:
    """Everything that may go when of all `records` these `runs` are kept (choose_runs)."""
    objects = store.remote.list_objects()
    store.prefetch(name for name in objects if Path(name).name == ARTIFACT_FILE)
    kept, known = find_kept(store, runs), find_kept(store, records)
    lent = kept.lent | _list_lent_objects(store, kept)
    garbage: list[Garbage] = []
    staying: set[str] = set()
    for (kind, key), everything in _group(objects).items():
        listed = {name: found for name, found in everything.items() if name not in lent}
        if kept.holds(kind, key):
            garbage += _find_stale(store, kind, key, listed, kept, now_s)
        elif listed and (known.holds(kind, key) or not _is_young(listed, now_s)):
            garbage.append(_describe(store, kind, key[:12], listed))
            continue
        staying |= {key[:12]} if kind == "checkpoint" else set()
    garbage += _find_pages(store, objects, records, {run.run_id for run in runs})
    return garbage + list(_find_curves(store, objects, staying))


def _list_lent_objects(store: RemoteStore, kept: Kept) -> set[str]:
    """The objects of files that kept artifacts share with others."""
    loaded = [artifact for name in kept.artifacts if (artifact := store.load(*name)) is not None]
    return {
        name_object(artifact.kind, artifact.key, file)
        for artifact in loaded
        for file in artifact.files
        if file.home is not None
    }


def remove_remote_garbage(store: RemoteStore, garbage: Sequence[Garbage]) -> None:
    """Delete it in the bucket, commits first."""
    names = [p.relative_to(store.root).as_posix() for found in garbage for p in found.paths]
    commits = [name for name in names if Path(name).name == ARTIFACT_FILE]
    store.remote.map(store.remote.delete, commits)
    store.remote.map(store.remote.delete, [name for name in names if name not in set(commits)])


def _group(objects: Objects) -> dict[Name, dict[str, Listed]]:
    """The objects of every artifact."""
    groups: dict[Name, dict[str, Listed]] = defaultdict(dict)
    for name, listed in objects.items():
        kind, _, rest = name.partition("/")
        key = rest.partition("/")[0]
        if kind in KINDS and KEY.fullmatch(key):
            groups[kind, key][name] = listed
    return groups


def _find_stale(
    store: RemoteStore, kind: str, key: str, listed: Objects, kept: Kept, now_s: float
) -> Iterator[Garbage]:
    """What belongs to attempts that nothing points at, or to none."""
    committed = store.load(kind, key)
    if committed is None:  # damaged or unfinished, and a kept run may make it whole again
        return
    used = {committed.attempt} | {a[2] for a in kept.attempts if a[:2] == (kind, key)}
    earlier = {number: _load_attempt(store, kind, key, number) for number in _list_earlier(listed)}
    artifacts = {**earlier, committed.attempt: committed}
    staying = {name for n in used for name in _list_objects(kind, key, n, artifacts.get(n))}
    leaving = {name for n, each in earlier.items() for name in _list_objects(kind, key, n, each)}
    rest = {n: found for n, found in listed.items() if not _stays(n, key, used, staying)}
    unknown = {name: found for name, found in rest.items() if name not in leaving}
    if _is_young(unknown, now_s):  # of an attempt that somebody makes, or is about to resume
        rest = {name: found for name, found in rest.items() if name in leaving}
    if rest:
        yield _describe(store, kind, f"{key[:12]}, other attempts", rest)


def _stays(name: str, key: str, used: set[int], staying: set[str]) -> bool:
    """Files by content; the commit, and sidecars and logs of attempts that stay, by name."""
    inside = name.partition(f"{key}/")[2]
    folder, slash, _ = inside.partition("/")
    numbered = ATTEMPT.fullmatch(folder)
    if slash and not numbered:  # a file of an artifact
        return name in staying
    is_earlier = ATTEMPT.fullmatch(inside.removesuffix(".json"))
    number = int(numbered[1]) if numbered else int(is_earlier[1]) if is_earlier else 0
    return name in staying or inside == ARTIFACT_FILE or number in used


def _list_earlier(listed: Objects) -> list[int]:
    """Attempts that a later one has replaced."""
    names = [Path(name).name for name in listed]
    found = [ATTEMPT.fullmatch(n.removesuffix(".json")) for n in names if n.endswith(".json")]
    return [int(match[1]) for match in found if match]


def _load_attempt(store: RemoteStore, kind: str, key: str, number: int) -> AnyArtifact | None:
    return parse_artifact(store.read(name_attempt(kind, key, number)))


def _list_objects(kind: str, key: str, number: int, artifact: AnyArtifact | None) -> list[str]:
    files = artifact.files if artifact else []
    return [name_attempt(kind, key, number), *(name_object(kind, key, file) for file in files)]


def _find_pages(
    store: RemoteStore, objects: Objects, records: Sequence[RunRecord], kept: set[str]
) -> Iterator[Garbage]:
    for run_id in [record.run_id for record in records if record.run_id not in kept]:
        page = f"{REPORTS}/{run_id}/report.html"
        if page in objects:
            yield _describe(store, REPORTS, run_id, {page: objects[page]})
        folder = f"{PROFILES}/{run_id}/"
        if profiles := {name: each for name, each in objects.items() if name.startswith(folder)}:
            yield _describe(store, PROFILES, run_id, profiles)


def _find_curves(store: RemoteStore, objects: Objects, staying: set[str]) -> Iterator[Garbage]:
    folders: dict[str, dict[str, Listed]] = defaultdict(dict)
    for name, listed in objects.items():
        if name.startswith(f"{CURVES}/"):
            folders[name.split("/")[1]][name] = listed
    for folder, listed_there in folders.items():
        if folder.rpartition("-")[2] not in staying:
            yield _describe(store, CURVES, folder, listed_there)


def _describe(store: RemoteStore, kind: str, what: str, listed: Objects) -> Garbage:
    paths = tuple(store.root / name for name in sorted(listed))
    return Garbage(kind, what, paths, sum(found.num_bytes for found in listed.values()))


def _is_young(listed: Objects, now_s: float) -> bool:
    newest_s = max((found.modified_s for found in listed.values()), default=0.0)
    return now_s - newest_s < YOUNG_S
