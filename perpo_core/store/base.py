"""Policies that are an adapter on a base: which base it is, and where that lies.

    <policy>/policy.json      the base's digest: part of what the policy's own digest covers
    <policy>/adapter/         the adapter, in PEFT's format; every other file is the base's own
    <policy>/../base.json     where the base lay when the adapter was made: no part of any digest

The adapters of several rounds are one: their ranks add up (perpo_core/policy/loading.py), so that a
policy rests on its base and on no other round.
"""

from __future__ import annotations

from pathlib import Path

from perpo_core.store.atomic import write_atomic
from perpo_core.store.store import IN_ARTIFACT, DamagedArtifact, Store
from schemas.base import Digest, Frozen

POLICY_FILE, PLACE_FILE = "policy.json", "base.json"
BUILTIN = "builtin"  # place of the model inside the package, wherever that is installed


class OnBase(Frozen):
    """policy.json."""

    base_digest: Digest


class BasePlace(Frozen):
    """base.json."""

    folder: str
    """Relative to the store where it lies in it, BUILTIN, or a folder of the machine that made the
    adapter."""


def write_base(folder: Path, base_digest: str) -> None:
    """Make a policy's folder that of an adapter on this base."""
    body = OnBase(base_digest=base_digest).model_dump_json(indent=2)
    write_atomic(folder / POLICY_FILE, body.encode())


def load_base_digest(folder: Path) -> str | None:
    """What a policy's adapter goes onto; None where its folder has the weights itself.

    Raises ValueError for a damaged file.
    """
    path = folder / POLICY_FILE
    if not path.is_file():
        return None
    try:
        return OnBase.model_validate_json(path.read_bytes()).base_digest
    except ValueError as error:
        raise ValueError(f"{path} is damaged; restore the policy's folder") from error


def write_place(folder: Path, place: str) -> None:
    """Note beside a policy's folder where its base lies."""
    body = BasePlace(folder=place).model_dump_json(indent=2)
    write_atomic(folder.parent / PLACE_FILE, body.encode())


def load_place(store: Store, folder: Path) -> str | None:
    """What write_place noted beside a policy's folder; None if nothing did.

    Raises ValueError for a damaged file.
    """
    try:
        body = store.read_beside(folder, PLACE_FILE)
        return None if body is None else BasePlace.model_validate_json(body).folder
    except (DamagedArtifact, ValueError) as error:
        where = folder.parent / PLACE_FILE
        raise ValueError(f"{where} is damaged ({error}); restore it, or remove it") from error


def find_stored_base(store: Store, folder: Path) -> Path | None:
    """Where the base of a policy lies, where that is in the store.

    Raises ValueError where what tells of it is damaged or gone.
    """
    place = load_place(store, folder)
    if place is None and load_base_digest(folder) is not None:
        raise ValueError(f"{folder.parent / PLACE_FILE} is missing; restore it")
    if place is None or place == BUILTIN or Path(place).is_absolute():
        return None
    return store.root / place


def find_root(folder: Path) -> Path | None:
    """The store, any one, that a policy's folder lies in; None outside of artifacts.

    >>> find_root(Path("/a/store/checkpoint") / ("0" * 64) / "model").as_posix()
    '/a/store'
    """
    found = IN_ARTIFACT.fullmatch(f"{folder.as_posix()}/")
    return Path(f"{folder.as_posix()}/"[: found.start("inside")]) if found else None
