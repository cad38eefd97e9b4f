"""What is there of earlier artifacts, and of what an interrupted stage left: files and rows.

A part that was made of the very same is shared as it lies: nothing is read or written. Rows are
taken over one by one from others.

A restart of the very same finds its finished parts by their names and its key
(perpo_core/store/workspace.py). Where the key is another by now, say since one truth was corrected,
they are found here, by what each of their rows was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from pydantic import ValidationError

from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import compute_hash
from perpo_core.store.store import DamagedArtifact, Store
from perpo_core.store.workspace import PART_SIDECAR, SIDECAR_SUFFIX, Sidecar
from schemas.artifact import AnyArtifact, FileRef
from schemas.base import Digest


@dataclass(frozen=True)
class EarlierFiles:
    """Files that are sound together, or not taken from."""

    paths: list[Path]
    verify: Callable[[], None]
    """Raises DamagedArtifact; of a store at an address, has them here."""
    log: Callable[[str], None]

    @cached_property
    def is_sound(self) -> bool:
        """Damage is said, once."""
        try:
            self.verify()
        except DamagedArtifact as damage:
            self.log(f"{damage}; nothing is taken from it")
            return False
        return True


def list_earlier(
    context: StageContext,
    kind: str,
    key: str,
    fits: Callable[[AnyArtifact], bool],
    rows_made_of: Collection[Digest],
) -> list[EarlierFiles]:
    """The artifacts that fit, newest first, then finished parts whose rows were made of that.

    Left out is what belongs to `key`, which is being made.
    """
    store, log = context.store, context.log
    committed = store.list_committed(kind)
    sets = [
        EarlierFiles(store.paths(each), partial(store.verify, each), log)
        for each in committed
        if fits(each) and each.key != key
    ]
    unfinished = set(store.list_keys(kind)) - {each.key for each in committed} - {key}
    parts = _list_parts(store, kind, sorted(unfinished), rows_made_of)
    return sets + [EarlierFiles([path], verify, log) for path, _, verify in parts]


@dataclass(frozen=True)
class SharedFile:
    """A file of an earlier artifact, as a later one refers to it."""

    file: FileRef
    path: Path
    verify: Callable[[], None]
    """Raises DamagedArtifact; of a store at an address, has it here."""


def find_shared_parts(context: StageContext, kind: str, key: str) -> SharedParts:
    """The parts of all earlier artifacts of a kind; of none with force."""
    committed = [] if context.force else context.store.list_committed(kind)
    shared: dict[Digest | None, SharedFile] = {
        each.file.made_of: each
        for artifact in reversed(committed)  # the newest says the last word
        if artifact.key != key
        for each in share_files(context.store, artifact)
        if each.file.made_of is not None
    }
    return SharedParts(shared, context.log)


@dataclass(frozen=True)
class SharedParts:
    """Parts by what they were made of."""

    by_made_of: dict[Digest | None, SharedFile]
    log: Callable[[str], None]

    def find(self, name: str, made_of: object) -> FileRef | None:
        """The sound part that was made of the same, under its name in the set that is made."""
        found = self.by_made_of.get(compute_hash(made_of))
        if found is None:
            return None
        try:
            found.verify()
        except DamagedArtifact as damage:
            self.log(f"{damage}; it is not shared")
            return None
        num_rows = found.file.num_rows or 0
        return found.file.model_copy(update={"path": name, "num_reused": num_rows})


def share_files(store: Store, artifact: AnyArtifact, prefix: str = "") -> Iterator[SharedFile]:
    """The files of an artifact whose name starts with `prefix`."""
    for file in artifact.files:
        if file.path.startswith(prefix):
            path = store.locate_file(artifact, file)
            home = path.relative_to(store.root / artifact.kind).as_posix()
            verify = partial(store.verify_file, artifact.kind, artifact.key, file, path)
            yield SharedFile(file.model_copy(update={"home": home}), path, verify)


def share_parts(
    store: Store, kind: str, keys: Iterable[str], rows_made_of: Digest
) -> Iterator[SharedFile]:
    """The finished parts below keys that are not committed, by their sidecars."""
    for path, file, verify in _list_parts(store, kind, keys, (rows_made_of,)):
        home = path.relative_to(store.root / kind).as_posix()
        yield SharedFile(file.model_copy(update={"home": home}), path, verify)


def _list_parts(
    store: Store, kind: str, keys: Iterable[str], rows_made_of: Collection[Digest]
) -> list[tuple[Path, FileRef, Callable[[], None]]]:
    """The parts below these keys and their verification, by their sidecars."""
    found: list[tuple[Path, FileRef, Callable[[], None]]] = []
    for key in keys:
        for name, body in store.read_folder(f"{kind}/{key}", PART_SIDECAR).items():
            sidecar = _parse(body)
            if sidecar is not None and sidecar.rows_made_of in rows_made_of:
                path = store.root / name.removesuffix(SIDECAR_SUFFIX)
                verify = partial(store.verify_file, kind, key, sidecar.file, path)
                found.append((path, sidecar.as_file(), verify))
    return found


def _parse(body: bytes | None) -> Sidecar | None:
    """None for a damaged one: what it tells of is made again."""
    try:
        return None if body is None else Sidecar.model_validate_json(body)
    except ValidationError:
        return None
