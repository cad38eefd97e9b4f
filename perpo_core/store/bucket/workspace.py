"""Parts, files and logs of an attempt, on their way to a bucket and back (store.py)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from perpo_core.store.atomic import temporary_beside, write_atomic
from perpo_core.store.bucket.objects import Body, Remote, RemoteError
from perpo_core.store.keys import compute_hash
from perpo_core.store.known_digests import hash_untouched
from perpo_core.store.store import DamagedArtifact
from perpo_core.store.workspace import SIDECAR_SUFFIX, Sidecar, Workspace
from schemas.artifact import FileRef
from schemas.base import Digest


class Bucket:
    """What this process knows of a bucket: shared by all stores that it opens at an address."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote
        self.sound: set[str] = set()
        """Objects that this process wrote or verified."""
        self.begun: dict[tuple[str, str], tuple[Body | None, int]] = {}
        """Kind and key of what is being made -> the commit it started from, and the attempt."""

    def upload(self, path: Path, name: str) -> None:
        """A file that is named by its content; once a process."""
        if name not in self.sound:
            self.remote.upload(path, name)
            self.sound.add(name)

    def fetch(self, kind: str, key: str, file: FileRef, path: Path) -> None:
        """Have a file where it belongs; raises DamagedArtifact unless it is as committed."""
        if _is_sound(path, file):
            return
        name = name_object(kind, key, file)
        self.sound.discard(name)
        where = f"{kind} artifact: {self.remote.address}/{name}"
        with temporary_beside(path) as temporary:
            if not self.remote.download(name, temporary, file.num_bytes):
                raise DamagedArtifact(f"{where} is missing")
            if not _is_sound(temporary, file):
                raise DamagedArtifact(f"{where} is damaged")
        self.sound.add(name)


@dataclass(frozen=True)
class RemoteWorkspace(Workspace):
    """A workspace whose finished parts and logs other machines see."""

    bucket: Bucket

    def find_part(self, name: str, made_of: object) -> FileRef | None:
        found = super().find_part(name, made_of)
        body = None if found else self.bucket.remote.read(self._name(name + SIDECAR_SUFFIX))
        if body is None:
            return found
        try:
            recorded = Sidecar.model_validate_json(body.content)
            if recorded.made_of != compute_hash(made_of):
                return None
            self.bucket.fetch(self.kind, self.key, recorded.file, self.folder / name)
        except (ValidationError, DamagedArtifact):  # what it tells of is made again
            return None
        write_atomic(self.folder / (name + SIDECAR_SUFFIX), body.content)
        return recorded.as_file()

    def finish_part(
        self, file: FileRef, made_of: object, rows_made_of: Digest | None = None
    ) -> FileRef:
        file = super().finish_part(file, made_of, rows_made_of)
        self.publish_part(file.path)
        return file

    def publish_part(self, name: str) -> None:
        """The part first: a sidecar tells of a part that is there."""
        sidecar = (self.folder / (name + SIDECAR_SUFFIX)).read_bytes()
        file = Sidecar.model_validate_json(sidecar).file
        self.bucket.upload(self.folder / name, name_object(self.kind, self.key, file))
        self.bucket.remote.write(self._name(name + SIDECAR_SUFFIX), sidecar)

    @contextmanager
    def _publishing(self, name: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            # What ended the block is what must be heard of, not a bucket that failed besides.
            with suppress(RemoteError):
                self._publish_log(name)
            raise
        self._publish_log(name)

    def publishing(self, name: str) -> AbstractContextManager[None]:
        return self._publishing(name)

    def _publish_log(self, name: str) -> None:
        if (self.folder / name).is_file():
            self.bucket.remote.upload(self.folder / name, self._name(name))

    def _name(self, name: str) -> str:
        attempt = f"attempt-{self.attempt}/" if self.attempt else ""
        return f"{self.kind}/{self.key}/{attempt}{name}"


def name_object(kind: str, key: str, file: FileRef) -> str:
    """Where a file of an artifact lies in the bucket, beside its own or shared."""
    if file.home is None:
        return f"{kind}/{key}/{file.sha256[:16]}/{file.path}"
    owner, name = file.home.split("/")[0], file.home.split("/")[-1]
    return f"{kind}/{owner}/{file.sha256[:16]}/{name}"


def _is_sound(path: Path, file: FileRef) -> bool:
    if not path.is_file() or path.stat().st_size != file.num_bytes:
        return False
    return hash_untouched(path) == file.sha256
