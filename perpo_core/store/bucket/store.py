"""A store in a bucket: this machine's working copy, and the bucket, which alone decides.

    <address>/<kind>/<key>/artifact.json              the commit: written on a condition, last
    <address>/<kind>/<key>/attempt-0.json             the artifact that a later attempt replaced
    <address>/<kind>/<key>/<sha256, 16>/<name>        a file of an artifact, named by its content
    <address>/<kind>/<key>/part-00000.parquet.json    the sidecar of a finished part; logs too
    <address>/runs, reports, promoted, tensorboard    as in a folder

Files carry their content in their name, so that two machines that make the same key at once never
overwrite each other's; whose artifact.json came first is found by both. Everything fetched is
verified by its sha256 before it takes its place in the working copy, which is a store of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar, cast

from perpo_core.store.atomic import remove_leftovers, write_atomic
from perpo_core.store.bucket.copies import read_listed
from perpo_core.store.bucket.objects import Body, Listed, RemoteError, open_remote
from perpo_core.store.bucket.prune import prune_copy
from perpo_core.store.bucket.uploads import end_cut_uploads
from perpo_core.store.bucket.workspace import Bucket, RemoteWorkspace, name_object
from perpo_core.store.place import find_folder, load_machine_id
from perpo_core.store.store import (
    IN_ARTIFACT,
    KEY,
    DamagedArtifact,
    Store,
    name_artifact,
    parse_artifact,
)
from schemas.artifact import AnyArtifact, Artifact, FileRef

A = TypeVar("A", bound=Artifact)
MAX_TRIES = 20  # of a change that others make at the same time
Log = Callable[[str], None]


_BUCKETS: dict[str, Bucket] = {}


class RemoteStore(Store):
    """All artifacts and runs below one address."""

    is_remote = True

    def __init__(self, address: str) -> None:
        super().__init__(find_folder(address))
        self.place = address
        self.remote = open_remote(address)
        self.bucket = _BUCKETS.setdefault(address, Bucket(self.remote))
        self._at_hand: dict[str, bytes | None] = {}

    @property
    def machine(self) -> str:
        """What leases tell this working copy by."""
        return load_machine_id(self.root)

    def prefetch(self, names: Iterable[str]) -> None:
        wanted = list(names)
        self._at_hand = {**dict.fromkeys(wanted), **self.read_all(wanted)}

    def read(self, name: str) -> bytes | None:
        if name in self._at_hand:
            return self._at_hand[name]
        body = self.remote.read(name)
        return body.content if body else None

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        return self.remote.read_all(names)

    def write(self, name: str, body: bytes) -> None:
        self.remote.write(name, body)
        super().write(name, body)

    def update(self, name: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """Nothing that others write in between is lost: `change` is asked again then."""
        for _ in range(MAX_TRIES):
            found = self.remote.read(name)
            changed = change(found.content if found else None)
            if changed is None:
                return
            if self.remote.swap(name, changed, found.version if found else None):
                super().write(name, changed)
                return
        raise RemoteError(f"store = {self.place}: others keep changing {name}; try again")

    def list_files(self, folder: str, suffix: str) -> list[str]:
        return list(self._list_files(folder, suffix))

    def _list_files(self, folder: str, suffix: str) -> dict[str, Listed]:
        listed = sorted(self.remote.list_objects(f"{folder}/").items())
        return {n: e for n, e in listed if n.endswith(suffix) and Path(n).name[0] != "."}

    def read_folder(self, folder: str, suffix: str) -> dict[str, bytes | None]:
        """One listing, and what changed since this machine read it last."""
        return read_listed(self.remote, self.root, self._list_files(folder, suffix))

    def list_keys(self, kind: str) -> list[str]:
        return [key for key in self.remote.list_folders(f"{kind}/") if KEY.fullmatch(key)]

    def fetch_file(self, name: str | Path) -> Path:
        path = self.root / name
        if (body := self.read(Path(name).as_posix())) is not None:
            write_atomic(path, body)
        return path

    def fetch_folder(self, folder: Path) -> Path:
        """Also of an attempt that was replaced since, and of a path on another machine."""
        found = IN_ARTIFACT.fullmatch(f"{folder.as_posix()}/")
        if found is None:
            return folder
        kind, key, attempt = found["kind"], found["key"], int(found["attempt"] or 0)
        artifact = self._load_attempt(kind, key, attempt)
        if artifact is None:
            raise DamagedArtifact(f"{kind} artifact: {self.place}/{kind}/{key} has no such attempt")
        self.verify(artifact)
        return self.root / found["inside"]

    def read_beside(self, folder: Path, name: str) -> bytes | None:
        """Without fetching anything else of the artifact; raises DamagedArtifact if it is gone."""
        found = IN_ARTIFACT.fullmatch(f"{folder.as_posix()}/")
        if found is None or not folder.is_relative_to(self.root):
            return super().read_beside(folder, name)
        kind, key, attempt = found["kind"], found["key"], int(found["attempt"] or 0)
        artifact = self._load_attempt(kind, key, attempt)
        files = [file for file in artifact.files if file.path == name] if artifact else []
        if not files:
            return None
        body = self.read(name_object(kind, key, files[0]))
        if body is None:
            raise DamagedArtifact(f"{kind} artifact: {self.place}/{kind}/{key}, {name} is missing")
        return body

    def _load_attempt(self, kind: str, key: str, attempt: int) -> AnyArtifact | None:
        """Also one that was replaced since."""
        artifact = self.load(kind, key)
        if artifact is not None and artifact.attempt != attempt:
            artifact = parse_artifact(self.read(name_attempt(kind, key, attempt)))
        return artifact

    def publish(self, folder: Path) -> None:
        paths = [path for path in folder.rglob("*") if path.is_file()]
        self.remote.map(
            lambda path: self.remote.upload(path, path.relative_to(self.root).as_posix()), paths
        )

    def verify(self, artifact: AnyArtifact) -> None:
        """Have every file in the working copy; raises DamagedArtifact for one that is not sound."""

        def fetch(file: FileRef) -> None:
            self.verify_file(artifact.kind, artifact.key, file, self.locate_file(artifact, file))

        self.remote.map(fetch, artifact.files)

    def verify_file(self, kind: str, key: str, file: FileRef, path: Path) -> None:
        self.bucket.fetch(kind, key, file, path)

    def open_workspace(self, kind: str, key: str, force: bool = False) -> RemoteWorkspace:
        """As in a folder; which attempt it is stays the same until it is committed."""
        if (kind, key) not in self.bucket.begun:
            body = self.remote.read(name_artifact(kind, key))
            committed = parse_artifact(body.content if body else None)
            attempt = committed.attempt if committed else 0
            begun = body, attempt + bool(force and committed)
            self.bucket.begun.setdefault((kind, key), begun)  # another thread may have been faster
        attempt = self.bucket.begun[kind, key][1]
        folder = self.folder(kind, key, attempt)
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        return RemoteWorkspace(kind, key, attempt, folder, self.bucket)

    def commit(self, artifact: A, log: Log = lambda message: None) -> A:
        made = cast(AnyArtifact, artifact)
        kind, key = made.kind, made.key
        found, _ = self.bucket.begun.pop((kind, key), (None, 0))

        def upload(file: FileRef) -> None:
            self.bucket.upload(self.path(made, file.path), name_object(kind, key, file))

        self.remote.map(upload, [file for file in made.files if file.home is None])
        for _ in range(MAX_TRIES):
            if self._replace(made, found):
                write_atomic(self.root / name_artifact(kind, key), _dump(made))
                self.remove_scratch(made)
                return artifact
            found = self.remote.read(name_artifact(kind, key))
            theirs = parse_artifact(found.content if found else None)
            if theirs == made:  # our own write, whose answer was lost on the way
                return artifact
            if theirs is not None and self._take(theirs, log):
                return cast(A, theirs)
        what = f"{kind} {key[:12]}"
        raise RemoteError(f"store = {self.place}: others keep changing {what}; try again")

    def prune(self, now_s: float) -> None:
        from perpo_core.store.bucket.prune import (
            prune_copy,  # it needs pointers and locks, and they this
        )

        prune_copy(self.remote, self.root, now_s)

    def tidy(self, now_s: float) -> list[str]:
        """The working copy loses what the bucket no longer has, the bucket uploads cut off."""
        num = prune_copy(self.remote, self.root, now_s, unfinished=True)
        pruned = f"the working copy on this machine lost {num} that the bucket no longer has"
        return ([pruned] if num else []) + end_cut_uploads(self.remote, now_s)

    def _replace(self, made: AnyArtifact, found: Body | None) -> bool:
        """Commit, if the commit is still what was found; keep what it replaces findable."""
        earlier = parse_artifact(found.content if found else None)
        if found is not None and earlier is not None and earlier.attempt != made.attempt:
            name = name_attempt(made.kind, made.key, earlier.attempt)
            self.remote.write(name, found.content)
        name, version = name_artifact(made.kind, made.key), found.version if found else None
        return self.remote.swap(name, _dump(made), version) is not None

    def _take(self, theirs: AnyArtifact, log: Log) -> bool:
        """Another machine's artifact in place of ours, if it is sound."""
        what = f"{theirs.kind} {theirs.key[:12]}"
        try:
            self.verify(theirs)
        except DamagedArtifact as damage:
            log(f"another machine finished {what} first, but {damage}; ours takes its place")
            return False
        write_atomic(self.root / name_artifact(theirs.kind, theirs.key), _dump(theirs))
        log(f"another machine finished {what} first; its artifact is used")
        return True


def name_attempt(kind: str, key: str, attempt: int) -> str:
    """Where an artifact lies that a later attempt has replaced."""
    return f"{kind}/{key}/attempt-{attempt}.json"


def _dump(artifact: AnyArtifact) -> bytes:
    return artifact.model_dump_json(indent=2).encode()
