"""Files that rows may be taken over from: earlier artifacts, and what an interrupted stage left.

A restart of the very same finds its finished parts by their names and its key
(perpo_core/store/workspace.py). Where the key is another by now, say since one truth was corrected,
they are found here, by what each of their rows was made of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from pydantic import ValidationError

from perpo_core.stages.stage import StageContext
from perpo_core.store.store import DamagedArtifact, Store
from perpo_core.store.workspace import PART_SIDECAR, SIDECAR_SUFFIX, Sidecar
from schemas.artifact import AnyArtifact
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
    return sets + [EarlierFiles([path], verify, log) for path, verify in parts]


def _list_parts(
    store: Store, kind: str, keys: Iterable[str], rows_made_of: Collection[Digest]
) -> list[tuple[Path, Callable[[], None]]]:
    """Path and verification of the parts below these keys, by their sidecars."""
    found: list[tuple[Path, Callable[[], None]]] = []
    for key in keys:
        for name, body in store.read_folder(f"{kind}/{key}", PART_SIDECAR).items():
            sidecar = _parse(body)
            if sidecar is not None and sidecar.rows_made_of in rows_made_of:
                path = store.root / name.removesuffix(SIDECAR_SUFFIX)
                found.append((path, partial(store.verify_file, kind, key, sidecar.file, path)))
    return found


def _parse(body: bytes | None) -> Sidecar | None:
    """None for a damaged one: what it tells of is made again."""
    try:
        return None if body is None else Sidecar.model_validate_json(body)
    except ValidationError:
        return None
