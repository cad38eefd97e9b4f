"""The artifact store: content-keyed folders, atomic files, verification, resume, forced remakes.

    <store>/<kind>/<key>/artifact.json          the commit and the pointer: written last
    <store>/<kind>/<key>/part-00000.parquet     attempt 0 lies in the folder itself
    <store>/<kind>/<key>/part-00000.parquet.json  sidecar: sha256, rows, what the part was made of
    <store>/<kind>/<key>/attempt-1/...          a forced remake; artifact.json then points at it
    <store>/runs/<run-id>.json

Every file is written under a temporary name, synced and renamed, so that a killed process leaves
either a whole file or none. A stage that died finds its finished parts again by their sidecars. A
store at an address, such as s3://bucket/prefix, is a Store too (perpo_core/store/bucket/store.py).
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import TypeVar, get_args

from pydantic import TypeAdapter

from perpo_core.process.troubles import describe_os_error
from perpo_core.store.atomic import make_folder, remove_leftovers, sync_upwards, write_atomic
from perpo_core.store.known_digests import hash_untouched
from perpo_core.store.left_out import leave_out, mark_said
from perpo_core.store.lenient import Unreadable, parse
from perpo_core.store.place import Place, is_address, parse_place
from perpo_core.store.workspace import SCRATCH, Workspace
from schemas.artifact import AnyArtifact, Artifact, FileRef

ARTIFACT_FILE = "artifact.json"
REPORTS, CURVES = "reports", "tensorboard"  # folders of pages and of training curves
PROFILES = "profiles"  # of runs that were asked for them
YOUNG_S = 24 * 3600  # what was touched since may be of a run that somebody is about to resume
LOCK_FILE = ".lock"  # of an artifact's folder, whoever makes it: no file of the artifact

KEY = re.compile("[0-9a-f]{64}")
KINDS: tuple[str, ...] = tuple(
    model.model_fields["kind"].default for model in get_args(get_args(AnyArtifact)[0])
)
IN_ARTIFACT = re.compile(
    rf".*/(?P<inside>(?P<kind>{'|'.join(KINDS)})/(?P<key>{KEY.pattern})"
    r"(?:/attempt-(?P<attempt>\d+))?/.*)"
)
"""The last such part of a path counts: other folders may be named by 64 digits too."""

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
        """Where a file or folder in an artifact's own folder lies."""
        return self.folder(artifact.kind, artifact.key, artifact.attempt) / name

    def locate_file(self, artifact: AnyArtifact, file: FileRef) -> Path:
        """Where a file of an artifact lies, its own or one that it shares."""
        if file.home is not None:
            return self.root / artifact.kind / file.home
        return self.path(artifact, file.path)

    def paths(self, artifact: AnyArtifact, prefix: str = "part-") -> list[Path]:
        """The artifact's files whose name starts with `prefix`, in order."""
        return [self.locate_file(artifact, f) for f in artifact.files if f.path.startswith(prefix)]

    def read(self, name: str) -> bytes | None:
        """A small file, such as runs/<run-id>.json; None if there is none."""
        path = self.root / name
        if path.is_file():
            return path.read_bytes()
        if os.path.lexists(path):
            self.leave_out(name, "it is a folder" if path.is_dir() else "it is no file")
        return None

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Those of some small files that there are; what cannot be read is left out."""
        return {name: body for name in names if (body := self._try_read(name)) is not None}

    def _try_read(self, name: str) -> bytes | None:
        try:
            return self.read(name)
        except OSError as error:
            self.leave_out(name, describe_os_error(error))
            return None

    def leave_out(self, name: str, reason: str) -> None:
        """Note a small file that cannot be used (perpo_core/store/left_out.py)."""
        leave_out(f"{self.place}/{name}", reason)

    def read_folder(self, folder: str, suffix: str) -> dict[str, bytes | None]:
        """The small files of list_files, by name; None for one that cannot be read."""
        names = self.list_files(folder, suffix)
        return {**dict.fromkeys(names), **self.read_all(names)}

    def prefetch(self, names: Iterable[str]) -> None:
        """Have small files at hand, as they are now, that are about to be read one by one."""

    def write(self, name: str, body: bytes) -> None:
        """Replace a small file."""
        write_atomic(self.root / name, body)

    def set_aside(self, name: str) -> None:
        """Move away what is in a small file's place and is none, such as a folder."""
        path = self.root / name
        if os.path.lexists(path) and not path.is_file():
            path.rename(f"{path}.damaged-{uuid.uuid4().hex[:8]}")

    def update(self, name: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """Replace a small file by what `change` makes of it; None leaves it as it is.

        Here the caller keeps other processes away (perpo_core/store/locks.py).
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

    def read_beside(self, folder: Path, name: str) -> bytes | None:
        """A small file of the artifact that a folder lies in, beside that folder; None if none."""
        path = folder.parent / name
        return path.read_bytes() if path.is_file() else None

    def relate(self, path: Path) -> Path:
        """A path as records name it: relative to the store where it lies in it, links followed."""
        for own, root in ((path, self.root), (path.resolve(), self.root.resolve())):
            if own.is_relative_to(root):
                return own.relative_to(root)
        return path

    def locate(self, path: Path) -> PurePath | None:
        """Where a path that a record names lies relative to the store; None outside of it.

        Earlier records name absolute ones: of a store that was moved, or of another machine. The
        kind and the key of an artifact say where it is now.
        """
        if found := IN_ARTIFACT.fullmatch(f"{path.as_posix()}/"):
            return PurePath(found["inside"])
        related = self.relate(path) if path.is_absolute() else path
        return None if related.is_absolute() else related

    def resolve(self, path: Path) -> Path:
        """Where what a record names is now, or was, if it is gone."""
        inside = self.locate(path)
        if inside is not None and (self.root / inside).exists():
            return self.root / inside
        return self.root / path

    def publish(self, folder: Path) -> None:
        """Let other machines have a folder of the store outside of artifacts."""

    def load(self, kind: str, key: str) -> AnyArtifact | None:
        """The committed artifact, its files unverified; None if there is none, or none readable."""
        name = name_artifact(kind, key)
        return self._parse(name, self.read(name))

    def _parse(self, name: str, body: bytes | None) -> AnyArtifact | None:
        artifact, reason = read_artifact(body)
        if reason is not None:
            self.leave_out(name, reason)
        return artifact

    def list_committed(self, kind: str) -> list[AnyArtifact]:
        """Every readable artifact of a kind, newest first, the files unverified."""
        bodies = self.read_all(name_artifact(kind, key) for key in self.list_keys(kind))
        artifacts = [found for n, body in bodies.items() if (found := self._parse(n, body))]
        return sorted(artifacts, key=lambda each: (each.created_at, each.key), reverse=True)

    def find(
        self, kind: str, key: str, warn: Callable[[str], None] | None = None
    ) -> AnyArtifact | None:
        """The committed artifact if every file verifies; damage is said and counts as absence."""
        name = name_artifact(kind, key)
        body = self.read(name)
        artifact = self._parse(name, body)
        if artifact is None:
            if body is not None and warn is not None:
                path = f"{self.place}/{name}"
                warn(f"{kind} artifact: {path} is damaged; remaking what is needed")
                mark_said(path)
            return None
        try:
            self.verify(artifact)
        except DamagedArtifact as damage:
            if warn is not None:
                warn(f"{damage}; remaking what is needed")
            return None
        return artifact

    def verify(self, artifact: AnyArtifact) -> None:
        """Raise DamagedArtifact, naming the file, unless every file is as committed."""
        for file in artifact.files:
            self.verify_file(artifact.kind, artifact.key, file, self.locate_file(artifact, file))

    def verify_file(self, kind: str, key: str, file: FileRef, path: Path) -> None:
        """Raise DamagedArtifact, naming it, unless a file below a key is as it was written."""
        del key
        if not path.is_file():
            raise DamagedArtifact(f"{kind} artifact: {path} is missing")
        if path.stat().st_size != file.num_bytes or hash_untouched(path) != file.sha256:
            raise DamagedArtifact(f"{kind} artifact: {path} is damaged")

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

    def prune(self, now_s: float) -> None:
        """Let go of what other machines have removed, for good; cheap enough for every run."""

    def tidy(self, now_s: float) -> list[str]:
        """What a clean-up does besides removing garbage; sentences of what it did."""
        return []

    def free_bytes(self) -> int:
        """Free disk where the store is."""
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free


def name_artifact(kind: str, key: str) -> str:
    """The commit's file."""
    return f"{kind}/{key}/{ARTIFACT_FILE}"


def parse_artifact(body: bytes | None) -> AnyArtifact | None:
    """None where there is none, or a damaged one."""
    return read_artifact(body)[0]


def read_artifact(body: bytes | None) -> tuple[AnyArtifact | None, str | None]:
    """The artifact, and why it cannot be read; both None where there is none."""
    try:
        return (None if body is None else parse(_ANY_ARTIFACT, body, "artifact")), None
    except Unreadable as damage:
        return None, str(damage)
