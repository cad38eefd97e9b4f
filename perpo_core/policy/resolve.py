"""From a model named in a configuration to a folder and the digest of its content.

"builtin" is the model inside the package, "promoted" what the last passed gates left (before the
first ones, policy.base), anything else a folder or the id of a model that is already in the local
hub cache (nothing is downloaded in a run). `train.extra_references` name models alike, except for
"promoted".
"""

from __future__ import annotations

from pathlib import Path

from perpo_core.policy.builtin_folder import BUILTIN_FOLDER
from perpo_core.policy.stamps import refer_to
from perpo_core.promotion.pointer import find_damage, load_promoted, require_known
from perpo_core.store.store import Store
from schemas.config import PolicyConfig
from schemas.run import PolicyRef
from schemas.train_config import TrainConfig


def resolve_policy(config: PolicyConfig, store: Store) -> PolicyRef:
    """The policy a run starts from; raises ValueError, one sentence, where there is none."""
    promoted = _find_promoted(store) if config.model == "promoted" else None
    return refer_to(promoted) if promoted else resolve_base(config)


def resolve_base(config: PolicyConfig) -> PolicyRef:
    """Where the rounds began: policy.base, or what policy.model names."""
    if config.base is not None:
        return refer_to(_find_folder("policy.base", config.base))
    model = "builtin" if config.model == "promoted" else config.model
    return refer_to(_find_folder("policy.model", model))


def resolve_references(config: TrainConfig) -> list[PolicyRef]:
    """The further references of mrpo; raises ValueError, one sentence, where one is missing."""
    return [
        refer_to(_find_folder("train.extra_references", model)) for model in config.extra_references
    ]


def _find_folder(key: str, model: str) -> Path:
    """The folder of a model; `key` is where the configuration names it."""
    if model == "builtin":
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
