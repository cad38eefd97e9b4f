"""Images that the store has: their packs are shared, and files that show them are not read again.

Packs of every earlier set whose images were read and encoded alike count, and the finished ones of
a collecting that was interrupted. Each is verified before anything is taken from it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from perpo_core.stages.earlier import SharedFile, share_files, share_parts
from perpo_core.stages.stage import StageContext
from perpo_core.store.packs import PREFIX, PackWriter, read_facts
from perpo_core.store.store import DamagedArtifact
from perpo_core.store.workspace import Workspace
from perpo_core.vision.images import StoredImage
from schemas.artifact import FileRef, SampleSet

OWN = -1  # the number of a pack that is being written


@dataclass
class Packed:
    """Where images lie, and which packs the rows need."""

    files: list[FileRef] = field(default_factory=list)
    """Packs that are there."""
    by_file: dict[str, StoredImage] = field(default_factory=dict)
    """sha256 of a file -> its image, without the bytes."""
    num_new: int = 0
    _number_of: dict[str, int] = field(default_factory=dict)
    """image_hash -> the number of its pack in `files`, or OWN."""
    _found: set[str] = field(default_factory=set)

    @property
    def num_found(self) -> int:
        """Images that rows name and that were there."""
        return len(self._found)

    def learn(self, file: FileRef, path: Path) -> None:
        """Take note of a pack; of two that hold an image the first is used."""
        for file_hash, image in read_facts(path):
            self.by_file.setdefault(file_hash, image)
            self._number_of.setdefault(image.image_hash, len(self.files))
        self.files.append(file)

    def place(self, image: StoredImage, file_hash: str, writer: PackWriter) -> None:
        """Have a row's image in a pack."""
        number = self._number_of.get(image.image_hash)
        if number is None:
            writer.add(image, file_hash)
            self._number_of[image.image_hash] = OWN
            self.num_new += 1
        elif number != OWN:
            self._found.add(image.image_hash)

    def list_used(self, written: list[FileRef]) -> list[FileRef]:
        """The packs that rows need: those there were, and those just written."""
        used = sorted({self._number_of[name] for name in self._found})
        return [*(self.files[number] for number in used), *written]


def find_packed(context: StageContext, workspace: Workspace, looking_digest: str) -> Packed:
    """Everything that was looked at alike; nothing with force."""
    packed = Packed()
    shared = [] if context.force else list(_list_packs(context, workspace, looking_digest))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing leaves the interpreter
        for each, damage in zip(shared, pool.map(_find_damage, shared), strict=True):
            if damage is None:
                packed.learn(each.file, each.path)
            else:
                context.log(f"{damage}; nothing is taken from it")
    return packed


def _list_packs(
    context: StageContext, workspace: Workspace, looking_digest: str
) -> Iterator[SharedFile]:
    """Own ones of an attempt that was killed, then the newest sets', each once."""
    store, kind = context.store, workspace.kind
    committed = store.list_committed(kind)
    unfinished = sorted(set(store.list_keys(kind)) - {each.key for each in committed})
    parts = list(share_parts(store, kind, {*unfinished, workspace.key}, looking_digest))
    own = [each for each in parts if each.path.parent == workspace.folder]
    yield from (replace(each, file=_bring_home(each.file)) for each in own)
    earlier = [
        each
        for artifact in committed
        if isinstance(artifact, SampleSet) and artifact.looking_digest == looking_digest
        for each in share_files(store, artifact, PREFIX)
        if artifact.key != workspace.key
    ]
    others = {each.file.home: each for each in [*earlier, *parts]}
    yield from (each for each in others.values() if each.path.parent != workspace.folder)


def _bring_home(file: FileRef) -> FileRef:
    return file.model_copy(update={"home": None})


def _find_damage(each: SharedFile) -> DamagedArtifact | None:
    try:
        each.verify()
    except DamagedArtifact as damage:
        return damage
    return None
