"""From a model named in a configuration to a folder and the digest of its content.

"builtin" is the model inside the package, "promoted" what the last passed gates left (before the
first ones, policy.base), anything else a folder or the id of a model that is already in the local
hub cache (nothing is downloaded in a run). `train.extra_references` name models alike, except for
"promoted".

A policy may be an adapter on a base (perpo_core/store/base.py), which is told by its digest and
looked for where it lay and where the configuration says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.policy.stamps import refer_to
from perpo_core.promotion.pointer import find_damage, load_promoted, require_known
from perpo_core.store.base import BUILTIN, find_root, load_base_digest, load_place
from perpo_core.store.store import DamagedArtifact, Store
from schemas.config import PolicyConfig, RefreshConfig
from schemas.run import PolicyRef


def resolve_policy(config: PolicyConfig, store: Store) -> PolicyRef:
    """The policy a run starts from; raises ValueError, one sentence, where there is none."""
    if config.model != "promoted":  # policy.base says where its rounds began, not where this does
        return locate_policy(_find_folder("policy.model", config.model), config, store)
    promoted = _find_promoted(store)
    return locate_policy(promoted, config, store) if promoted else resolve_base(config, store)


def resolve_base(config: PolicyConfig, store: Store) -> PolicyRef:
    """Where the rounds began: policy.base, or what policy.model names."""
    return locate_policy(_find_folder(*_name_base(config)), config, store)


def resolve_references(config: RefreshConfig, store: Store) -> list[PolicyRef]:
    """The further references of mrpo; raises ValueError, one sentence, where one is missing."""
    names = config.train.extra_references
    folders = [_find_folder("train.extra_references", name) for name in names]
    return [locate_policy(folder, config.policy, store) for folder in folders]


def locate_policy(
    folder: Path,
    config: PolicyConfig,
    store: Store,
    digest: str | None = None,
    known: Sequence[PolicyRef] = (),
) -> PolicyRef:
    """The policy in a folder, with what its adapter goes onto; `digest` as of refer_to.

    `known` policies are hashed already. Raises ValueError, one sentence, where its base is gone.
    """
    base_digest = load_base_digest(folder)
    if base_digest is None:
        return refer_to(folder, digest)
    own = [policy for policy in known if policy.digest == base_digest]
    base = own[0] if own else _find_base(folder, base_digest, config, store)
    return refer_to(folder, digest, base)


def name_place(folder: Path, store: Store) -> str:
    """A base's folder as base.json names it."""
    return BUILTIN if folder == BUILTIN_FOLDER else store.relate(folder).as_posix()


def _find_base(folder: Path, digest: str, config: PolicyConfig, store: Store) -> PolicyRef:
    places = list(dict.fromkeys(_list_places(folder, config, store)))
    for place in filter(Path.is_dir, places):
        if (found := refer_to(place)).digest == digest:
            return found
    what = "holds another one now" if places[0].is_dir() else "is gone"
    raise ValueError(
        f"the policy in {folder} is an adapter on the policy {digest[:12]}, and {places[0]} {what};"
        " put the base back there, or name its folder as policy.base"
    )


def _list_places(folder: Path, config: PolicyConfig, store: Store) -> Iterator[Path]:
    """Where its base may be: where it lay, then what the configuration names."""
    place, root = load_place(store, folder), find_root(folder)
    if place == BUILTIN:
        yield BUILTIN_FOLDER
    elif place is not None and root is not None:
        with suppress(DamagedArtifact):  # then it is not there
            yield store.fetch_folder(root / place) if root == store.root else root / place
    for key, model in (("policy.base", config.base), ("policy.model", config.model)):
        if model and model != "promoted":
            with suppress(ValueError):  # not in the hub's cache
                yield _find_folder(key, model)
    yield BUILTIN_FOLDER


def _name_base(config: PolicyConfig) -> tuple[str, str]:
    """The key that names where the rounds began, and the model."""
    if config.base is not None:
        return "policy.base", config.base
    return "policy.model", BUILTIN if config.model == "promoted" else config.model


def _find_folder(key: str, model: str) -> Path:
    """The folder of a model; `key` is where the configuration names it."""
    if model == BUILTIN:
        return BUILTIN_FOLDER
    path = Path(model).expanduser()
    if path.is_dir():
        return path.absolute()
    return _find_in_hub_cache(key, model)


def _find_promoted(store: Store) -> Path | None:
    """The promoted policy's model folder; None where it is the one the rounds began with."""
    promoted = load_promoted(store)
    if promoted is None or promoted.folder is None:
        require_known(store)
        return None
    problem = find_damage(store, promoted)
    if problem:
        raise ValueError(
            f"policy.model = promoted, but {problem}; roll the promotion back (`perpo rollback`) "
            "or name a policy folder"
        )
    return store.root / promoted.folder


def _find_in_hub_cache(key: str, model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ValueError(
            f"{key} = {model!r} is neither a folder nor a model in the local hub cache; "
            f"download it first (hf download {model}) or give a folder"
        ) from error
