"""The artifact store: content-keyed folders, atomic files, verification, resume, forced remakes.

    <store>/<kind>/<key>/artifact.json          the commit and the pointer: written last
    <store>/<kind>/<key>/part-00000.parquet     attempt 0 lies in the folder itself
    <store>/<kind>/<key>/part-00000.parquet.json  sidecar: sha256, rows, what the part was made of
    <store>/<kind>/<key>/attempt-1/...          a forced remake; artifact.json then points at it
    <store>/runs/<run-id>.json

Every file is written under a temporary name, synced and renamed, so that a killed process leaves
either a whole file or none. A stage that died finds its finished parts again by their sidecars.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from perpo_core.keys import compute_hash, hash_file
from perpo_core.locks import try_lock
from perpo_core.troubles import explaining_full_disk
from schemas.artifact import AnyArtifact, Artifact, FileRef
from schemas.base import Digest, Frozen

ARTIFACT_FILE = "artifact.json"
SIDECAR_SUFFIX = ".json"
TEMPORARY_PREFIX = ".tmp-"
ROW_GROUP_ROWS = 512  # a reader of a few rows does not decode a whole shard of images

A = TypeVar("A", bound=Artifact)
_ANY_ARTIFACT: TypeAdapter[AnyArtifact] = TypeAdapter(AnyArtifact)


class _Sidecar(Frozen):
    """What lies beside a finished part."""

    file: FileRef
    made_of: Digest


class DamagedArtifact(Exception):
    """A committed file is missing or is not what was committed."""


@dataclass(frozen=True)
class Workspace:
    """Where one attempt of one stage writes its files."""

    kind: str
    key: str
    attempt: int
    folder: Path

    def find_part(self, name: str, made_of: object) -> FileRef | None:
        """The finished part of that name if it was made of the same input and is undamaged."""
        path, sidecar = self.folder / name, self.folder / (name + SIDECAR_SUFFIX)
        if not path.is_file() or not sidecar.is_file():
            return None
        try:
            recorded = _Sidecar.model_validate_json(sidecar.read_bytes())
        except ValidationError:  # damaged: what it tells of is made again
            return None
        if recorded.made_of != compute_hash(made_of):
            return None
        return recorded.file if hash_file(path) == recorded.file.sha256 else None

    def write_part(
        self, name: str, table: pa.Table, made_of: object, num_reused: int = 0
    ) -> FileRef:
        """Write a Parquet part and its sidecar; `made_of` is JSON that identifies its input.

        `num_reused` of its rows come from earlier artifacts: in the sidecar, so that a resumed
        stage still counts them.
        """
        file = self.write_table(name, table).model_copy(update={"num_reused": num_reused})
        sidecar = _Sidecar(file=file, made_of=compute_hash(made_of))
        write_atomic(self.folder / (name + SIDECAR_SUFFIX), sidecar.model_dump_json().encode())
        return file

    def write_table(self, name: str, table: pa.Table) -> FileRef:
        """Write one Parquet file atomically."""
        path = self.folder / name
        with _temporary_beside(path) as temporary:
            pq.write_table(table, temporary, compression="zstd", row_group_size=ROW_GROUP_ROWS)
        return describe_file(path, name, num_rows=table.num_rows)

    def write_batches(
        self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
    ) -> FileRef:
        """write_table for rows that do not fit into memory together: a row group a batch."""
        path = self.folder / name
        num_rows = 0
        with (
            _temporary_beside(path) as temporary,
            pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ):
            for batch in batches:
                writer.write_batch(batch)
                num_rows += batch.num_rows
        return describe_file(path, name, num_rows)

    def describe_tree(self, folder: str) -> list[FileRef]:
        """The files below a subfolder of the workspace, such as a model folder."""
        files = sorted(path for path in (self.folder / folder).rglob("*") if path.is_file())
        return [describe_file(p, p.relative_to(self.folder).as_posix()) for p in files]


class Store:
    """All artifacts and runs under one local folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()

    def folder(self, kind: str, key: str, attempt: int = 0) -> Path:
        base = self.root / kind / key
        return base / f"attempt-{attempt}" if attempt else base

    def path(self, artifact: AnyArtifact, name: str) -> Path:
        """Where a file of an artifact lies."""
        return self.folder(artifact.kind, artifact.key, artifact.attempt) / name

    def paths(self, artifact: AnyArtifact, prefix: str = "part-") -> list[Path]:
        """The artifact's files whose name starts with `prefix`, in order."""
        return [self.path(artifact, f.path) for f in artifact.files if f.path.startswith(prefix)]

    def load(self, kind: str, key: str) -> AnyArtifact | None:
        """The committed artifact, its files unverified; None if there is none, or none readable."""
        path = self.folder(kind, key) / ARTIFACT_FILE
        try:
            return _ANY_ARTIFACT.validate_json(path.read_bytes()) if path.is_file() else None
        except ValidationError:
            return None

    def list_committed(self, kind: str) -> list[AnyArtifact]:
        """Every readable artifact of a kind, newest first, the files unverified."""
        keys = [path.parent.name for path in (self.root / kind).glob(f"*/{ARTIFACT_FILE}")]
        artifacts = [artifact for key in keys if (artifact := self.load(kind, key))]
        return sorted(artifacts, key=lambda each: (each.created_at, each.key), reverse=True)

    def find(
        self, kind: str, key: str, warn: Callable[[str], None] = lambda message: None
    ) -> AnyArtifact | None:
        """The committed artifact if every file verifies; damage is said and counts as absence."""
        artifact = self.load(kind, key)
        if artifact is None:
            path = self.folder(kind, key) / ARTIFACT_FILE
            if path.is_file():
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
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)
        return Workspace(kind, key, attempt, folder)

    def commit(self, artifact: A) -> A:
        """Make the artifact the one that readers find; the last write of a stage."""
        body = artifact.model_dump_json(indent=2).encode()
        write_atomic(self.folder(artifact.kind, artifact.key) / ARTIFACT_FILE, body)  # type: ignore[attr-defined]
        return artifact

    def free_bytes(self) -> int:
        """Free disk where the store is."""
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free


def describe_file(path: Path, name: str, num_rows: int | None = None) -> FileRef:
    """A file's reference, with its content hashed as it lies on disk."""
    return FileRef(
        path=name, sha256=hash_file(path), num_bytes=path.stat().st_size, num_rows=num_rows
    )


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content, the new content, or nothing."""
    with _temporary_beside(path) as temporary:
        temporary.write_bytes(content)


def _remove_leftovers(folder: Path) -> None:
    """Remove half-written files of killed runs: those whose writer no longer holds their lock."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        # Its writer may finish between the listing and the look.
        with suppress(FileNotFoundError), path.open("rb") as left:
            if try_lock(left.fileno()):
                path.unlink()


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """A file that becomes `path` when the block ends well; raises DiskFull where it cannot."""
    with explaining_full_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        held, temporary = _create_temporary(path)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(held)


def _create_temporary(path: Path) -> tuple[int, Path]:
    """An open, locked descriptor and the file's path: while it is locked nobody removes it."""
    while True:
        held, name = tempfile.mkstemp(
            dir=path.parent, prefix=TEMPORARY_PREFIX, suffix=path.name[-20:]
        )
        if try_lock(held) and os.path.exists(name):  # else just taken for a leftover
            return held, Path(name)
        os.close(held)
