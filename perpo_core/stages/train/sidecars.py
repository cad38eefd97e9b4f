"""Reference log-probabilities as artifacts of their own: what they are keyed by, and their commit.

    <store>/references/<key>/part-00000.parquet     one row a list (schemas.arrow.REFERENCES)

or, where an objective looks at tokens, a row of their log-probabilities (TOKEN_VALUES). A key
covers the lists, the reference's content, the precision it is computed in, whether images are
shown and, for crops, how they are drawn: nothing else of the train section, so that changing it
leaves the table valid.
A part depends on its part of the lists alone: where data grow, only new parts are computed.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from perpo_core.policy.resolve import resolve_base, resolve_references
from perpo_core.stages.earlier import find_shared_parts
from perpo_core.stages.stage import StageContext
from perpo_core.store.atomic import temporary_beside
from perpo_core.store.keys import compute_digest
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.open import open_store
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.workspace import Workspace
from schemas.artifact import Counts, FileRef, PreferenceSet, ReferenceSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, ReferenceJob, ReferenceOf
from schemas.train_config import TrainConfig

KIND = "references"
VERSION = 3


def compute_key(
    config: RefreshConfig, preferences: PreferenceSet, reference: PolicyRef, of: ReferenceOf
) -> str:
    """Lists, reference, precision, what of them, limits of images."""
    settings = _list_settings(config, reference, of)
    return compute_stage_key(KIND, VERSION, as_parents(preferences), settings)


def _list_settings(config: RefreshConfig, reference: PolicyRef, of: ReferenceOf) -> dict[str, Any]:
    """All that the log-probabilities of given lists depend on."""
    train = config.train
    return {
        "policy_digest": reference.digest,
        "dtype": config.policy.dtype,
        "quantize": train.quantize,
        "crop_seed": train.seed if of == "crops" else None,
        **({"tokens": True} if of == "tokens" else {}),
        **({"image": train.image} if train.image != "kept" else {}),
        **config.policy.pixel_limits.describe(),
    }


def _identify_parts(
    config: RefreshConfig, preferences: PreferenceSet, reference: PolicyRef, of: ReferenceOf
) -> dict[str, object]:
    """Name of a part -> what it is made of, in whatever set."""
    settings = _list_settings(config, reference, of)
    parts = [file for file in preferences.files if file.path.startswith("part-")]
    return {file.path: [KIND, VERSION, settings, file.sha256] for file in parts}


@dataclass(frozen=True)
class Resolved:
    """The frozen models that a training names, besides the policy that it starts from."""

    base: PolicyRef | None
    """None where it is not asked for."""
    extra: list[PolicyRef]


def resolve(config: RefreshConfig) -> Resolved:
    """Hashes their folders; raises ValueError, one sentence, where one is missing."""
    store = open_store(config.store)
    base = resolve_base(config.policy, store) if config.train.reference == "base" else None
    return Resolved(base, resolve_references(config, store))


def list_jobs(
    context: StageContext, preferences: PreferenceSet, folder: Path, resolved: Resolved
) -> list[ReferenceJob]:
    """Every reference the objective may ask for; those in the store are known.

    Tables that are not there are written below `folder` by the child, which finds them there again
    if it was killed before their commit, and committed from there.
    """
    named = {"start": context.policy}
    if resolved.base:
        named["base"] = resolved.base
    for number, reference in enumerate(resolved.extra, start=1):
        named[f"extra-{number}"] = reference
    jobs = []
    for name, reference in named.items():
        for of in _list_contents(name, context.config.train):
            jobs.append(_build_job(context, preferences, folder, name, reference, of))
    return jobs


def _list_contents(name: str, train: TrainConfig) -> list[ReferenceOf]:
    if name not in ("start", "base"):
        return ["lists"]
    return ["lists", "crops", "tokens"] if train.weighs_tokens else ["lists", "crops"]


def _build_job(
    context: StageContext,
    preferences: PreferenceSet,
    folder: Path,
    name: str,
    reference: PolicyRef,
    of: ReferenceOf,
) -> ReferenceJob:
    key = compute_key(context.config, preferences, reference, of)
    found = context.store.find(KIND, key, context.log)
    if found:
        parts: list[Path | None] = list(context.store.paths(found))
    else:
        shared = _share(context, preferences, key, reference, of)
        parts = [context.store.root / KIND / f.home if f and f.home else None for f in shared]
    name = name if of == "lists" else f"{name}-{of}"
    return ReferenceJob(
        name=name, policy=reference, of=of, key=key, parts=parts, folder=folder / key
    )


def _share(
    context: StageContext,
    preferences: PreferenceSet,
    key: str,
    reference: PolicyRef,
    of: ReferenceOf,
) -> list[FileRef | None]:
    """Of each part of the lists, what an earlier table says of the very same."""
    # A training that is made anew asks for the same numbers.
    earlier = find_shared_parts(replace(context, force=False), KIND, key)
    made_of = _identify_parts(context.config, preferences, reference, of)
    return [earlier.find(name, each) for name, each in made_of.items()]


def commit(
    context: StageContext, preferences: PreferenceSet, job: ReferenceJob, device: str
) -> ReferenceSet:
    """Copy what the child has written into the store; the table there, if it has it.

    What the child wrote stays where a restart finds it. Two trainings may share a table.
    """
    own = replace(context, force=False)
    committed: ReferenceSet = own.make_alone(
        KIND, job.key, lambda: _make(own, preferences, job, device)
    )[0]
    return committed


def _make(
    context: StageContext, preferences: PreferenceSet, job: ReferenceJob, device: str
) -> ReferenceSet:
    started = time.monotonic()
    workspace = context.open_workspace(KIND, job.key)
    made_of = _identify_parts(context.config, preferences, job.policy, job.of)
    shared = _share(context, preferences, job.key, job.policy, job.of)
    files = [
        file or _copy(workspace, path, *each)
        for file, path, each in zip(shared, job.list_paths(), made_of.items(), strict=True)
    ]
    num_lists = sum(preferences.num_lists.values())
    config = context.config
    return ReferenceSet(
        stage="train",
        key=job.key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(
            num_in=num_lists, num_kept=num_lists, num_reused=sum(f.num_reused for f in files)
        ),
        parents=as_parents(preferences),
        producer=describe_producer(config.train.seed, config.train.threads, device),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        policy_digest=job.policy.digest,
        crops=job.of == "crops",
        tokens=job.of == "tokens",
    )


def _copy(workspace: Workspace, path: Path, name: str, made_of: object) -> FileRef:
    with temporary_beside(workspace.folder / name) as temporary:
        shutil.copyfile(path, temporary)
    return workspace.finish_part(workspace.describe_table(name), made_of)
