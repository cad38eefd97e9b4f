"""The artifact store: content-keyed folders, atomic files, verification, resume, forced remakes.

    <store>/<kind>/<key>/artifact.json          the commit and the pointer: written last
    <store>/<kind>/<key>/part-00000.parquet     attempt 0 lies in the folder itself
    <store>/<kind>/<key>/part-00000.parquet.json  sidecar: sha256, rows, what the part was made of
    <store>/<kind>/<key>/attempt-1/...          a forced remake; artifact.json then points at it
    <store>/runs/<run-id>.json

Every file is written under a temporary name, synced and renamed, so that a killed process leaves
either a whole file or none. A stage that died finds its finished parts again by their sidecars.
A store at an address, such as s3://bucket/prefix, is a Store too (perpo_core/remote_store.py).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from perpo_core.atomic import make_folder, remove_leftovers, sync_upwards, write_atomic
from perpo_core.keys import hash_file
from perpo_core.place import Place, is_address, parse_place
from perpo_core.workspace import SCRATCH, Workspace, describe_file
from schemas.artifact import AnyArtifact, Artifact

__all__ = [
    "DamagedArtifact", "Store", "Workspace", "describe_file", "open_store", "write_atomic",
]  # fmt: skip

ARTIFACT_FILE = "artifact.json"
LOCK_FILE = ".lock"  # of an artifact's folder, whoever makes it: no file of the artifact

KEY = re.compile("[0-9a-f]{64}")

A = TypeVar("A", bound=Artifact)
_ANY_ARTIFACT: TypeAdapter[AnyArtifact] = TypeAdapter(AnyArtifact)


class DamagedArtifact(Exception):
    """A committed file is missing or is not what was committed."""


class Store:
    """All artifacts and runs under one local folder."""

    is_remote = False

    def __init__(self, root: Place) -> None:
        assert not is_address(root), f"open_store opens {root}"
        self.root = Path(parse_place(root)).absolute()
        self.place: Place = self.root
        """Where it is, for messages."""

    def folder(self, kind: str, key: str, attempt: int = 0) -> Path:
        base = self.root / kind / key
        return base / f"attempt-{attempt}" if attempt else base

    def path(self, artifact: AnyArtifact, name: str) -> Path:
        """Where a file of an artifact lies."""
        return self.folder(artifact.kind, artifact.key, artifact.attempt) / name

    def paths(self, artifact: AnyArtifact, prefix: str = "part-") -> list[Path]:
        """The artifact's files whose name starts with `prefix`, in order."""
        return [self.path(artifact, f.path) for f in artifact.files if f.path.startswith(prefix)]

    def read(self, name: str) -> bytes | None:
        """A small file, such as runs/<run-id>.json; None if there is none."""
        path = self.root / name
        return path.read_bytes() if path.is_file() else None

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Those of some small files that there are."""
        return {name: body for name in names if (body := self.read(name)) is not None}

    def prefetch(self, names: Iterable[str]) -> None:
        """Have small files at hand, as they are now, that are about to be read one by one."""

    def write(self, name: str, body: bytes) -> None:
        """Replace a small file."""
        write_atomic(self.root / name, body)

    def update(self, name: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """Replace a small file by what `change` makes of it; None leaves it as it is.

        Here the caller keeps other processes away (perpo_core/locks.py).
        """
        if (changed := change(self.read(name))) is not None:
            self.write(name, changed)

    def list_files(self, folder: str, suffix: str) -> list[str]:
        """Names of the files below a folder of the store, hidden ones left out."""
        found = (self.root / folder).rglob(f"[!.]*{suffix}")
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def list_keys(self, kind: str) -> list[str]:
        """Every key of a kind that there is anything of, committed or not."""
        folder = self.root / kind
        paths = folder.iterdir() if folder.is_dir() else ()
        return sorted(path.name for path in paths if KEY.fullmatch(path.name) and path.is_dir())

    def fetch_file(self, name: str | Path) -> Path:
        """Where a file of the store can be read now."""
        return self.root / name

    def fetch_folder(self, folder: Path) -> Path:
        """Where a folder inside an artifact can be read now, given where it was read once.

        Raises DamagedArtifact.
        """
        return folder

    def locate(self, path: Path) -> PurePath | None:
        """Where a path lies relative to the store; None outside of it."""
        return path.relative_to(self.root) if path.is_relative_to(self.root) else None

    def publish(self, folder: Path) -> None:
        """Let other machines have a folder of the store outside of artifacts."""

    def load(self, kind: str, key: str) -> AnyArtifact | None:
        """The committed artifact, its files unverified; None if there is none, or none readable."""
        return parse_artifact(self.read(name_artifact(kind, key)))

    def list_committed(self, kind: str) -> list[AnyArtifact]:
        """Every readable artifact of a kind, newest first, the files unverified."""
        bodies = self.read_all(name_artifact(kind, key) for key in self.list_keys(kind))
        artifacts = [found for body in bodies.values() if (found := parse_artifact(body))]
        return sorted(artifacts, key=lambda each: (each.created_at, each.key), reverse=True)

    def find(
        self, kind: str, key: str, warn: Callable[[str], None] = lambda message: None
    ) -> AnyArtifact | None:
        """The committed artifact if every file verifies; damage is said and counts as absence."""
        name = name_artifact(kind, key)
        body = self.read(name)
        artifact = parse_artifact(body)
        if artifact is None:
            if body is not None:
                path = f"{self.place}/{name}"
                warn(f"{kind} artifact: {path} is damaged; remaking what is needed")
            return None
        try:
            self.verify(artifact)
        except DamagedArtifact as damage:
            warn(f"{damage}; remaking what is needed")
            return None
        return artifact

    def verify(self, artifact: AnyArtifact) -> None:
        """Raise DamagedArtifact, naming the file, unless every file is as committed."""
        for file in artifact.files:
            path = self.path(artifact, file.path)
            if not path.is_file():
                raise DamagedArtifact(f"{artifact.kind} artifact: {path} is missing")
            if path.stat().st_size != file.num_bytes or hash_file(path) != file.sha256:
                raise DamagedArtifact(f"{artifact.kind} artifact: {path} is damaged")

    def open_workspace(self, kind: str, key: str, force: bool = False) -> Workspace:
        """Where to make the artifact: the place of a damaged or unfinished attempt, or a new one.

        A forced remake gets a new attempt beside a committed one, so that nobody's reads are
        overwritten; one that was killed before its commit is resumed by the next force.
        """
        committed = self.load(kind, key)
        attempt = committed.attempt if committed else 0
        if force and committed:
            attempt += 1
        folder = self.folder(kind, key, attempt)
        make_folder(folder)
        remove_leftovers(folder)
        return Workspace(kind, key, attempt, folder)

    def commit(self, artifact: A, log: Callable[[str], None] = lambda message: None) -> A:
        """Make the artifact the one that readers find; the last write of a stage.

        Returns what readers find: where another machine was faster, its artifact.
        """
        del log
        sync_upwards(self.folder(artifact.kind, artifact.key), self.root)  # type: ignore[attr-defined]
        self.write(
            name_artifact(artifact.kind, artifact.key),  # type: ignore[attr-defined]
            artifact.model_dump_json(indent=2).encode(),
        )
        self.remove_scratch(artifact)  # type: ignore[arg-type]
        return artifact

    def remove_scratch(self, artifact: AnyArtifact) -> None:
        """What only a restart would have needed; never before the commit."""
        scratch = self.folder(artifact.kind, artifact.key, artifact.attempt) / SCRATCH
        shutil.rmtree(scratch, ignore_errors=True)

    def free_bytes(self) -> int:
        """Free disk where the store is."""
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free


def open_store(place: Place) -> Store:
    """The store of a folder or an address; raises ValueError for an address of no use."""
    place = parse_place(place)
    if isinstance(place, Path):
        return Store(place)
    from perpo_core.remote_store import RemoteStore  # only where asked for

    return RemoteStore(place)


def name_artifact(kind: str, key: str) -> str:
    """The commit's file."""
    return f"{kind}/{key}/{ARTIFACT_FILE}"


def parse_artifact(body: bytes | None) -> AnyArtifact | None:
    """None where there is none, or a damaged one."""
    try:
        return None if body is None else _ANY_ARTIFACT.validate_json(body)
    except ValidationError:
        return None
