"""Reference log-probabilities as artifacts of their own: what they are keyed by, and their commit.

    <store>/references/<key>/logps.parquet     one row a list (schemas.arrow.REFERENCES)

A key covers the lists, the reference's content, the precision it is computed in and, for crops,
how they are drawn: nothing else of the train section, so that changing it leaves the table valid.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path

from perpo_core.policy.resolve import resolve_base, resolve_references
from perpo_core.stages.stage import StageContext
from perpo_core.store.atomic import temporary_beside
from perpo_core.store.keys import compute_digest
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.workspace import describe_file
from schemas.artifact import Counts, PreferenceSet, ReferenceSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, ReferenceJob

KIND = "references"
VERSION = 2
FILE = "logps.parquet"


def compute_key(
    config: RefreshConfig, preferences: PreferenceSet, reference: PolicyRef, crops: bool
) -> str:
    """Lists, reference, precision, crops, limits of images."""
    train = config.train
    settings = {
        "policy_digest": reference.digest,
        "dtype": config.policy.dtype,
        "quantize": train.quantize,
        "crop_seed": train.seed if crops else None,
        **config.policy.pixel_limits.describe(),
    }
    return compute_stage_key(KIND, VERSION, as_parents(preferences), settings)


@dataclass(frozen=True)
class Resolved:
    """The frozen models that a training names, besides the policy that it starts from."""

    base: PolicyRef | None
    """None where it is not asked for."""
    extra: list[PolicyRef]


def resolve(config: RefreshConfig) -> Resolved:
    """Hashes their folders; raises ValueError, one sentence, where one is missing."""
    train = config.train
    base = resolve_base(config.policy) if train.reference == "base" else None
    return Resolved(base, resolve_references(train))


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
        for crops in (False, True) if name in ("start", "base") else (False,):
            jobs.append(_build_job(context, preferences, folder, name, reference, crops))
    return jobs


def _build_job(
    context: StageContext,
    preferences: PreferenceSet,
    folder: Path,
    name: str,
    reference: PolicyRef,
    crops: bool,
) -> ReferenceJob:
    key = compute_key(context.config, preferences, reference, crops)
    found = context.store.find(KIND, key, context.log)
    name = f"{name}-crops" if crops else name
    file = context.store.path(found, FILE) if found else folder / f"{key}.parquet"
    return ReferenceJob(
        name=name, policy=reference, crops=crops, key=key, file=file, known=found is not None
    )


def commit(
    context: StageContext, preferences: PreferenceSet, job: ReferenceJob, device: str
) -> ReferenceSet:
    """Copy a table that the child has written into the store; the one there, if it has it.

    What the child wrote stays where a restart finds it. Two trainings may share a table.
    """
    own = replace(context, force=False)  # a training that is made anew asks for the same table
    committed: ReferenceSet = own.make_alone(
        KIND, job.key, lambda: _make(own, preferences, job, device)
    )[0]
    return committed


def _make(
    context: StageContext, preferences: PreferenceSet, job: ReferenceJob, device: str
) -> ReferenceSet:
    started = time.monotonic()
    workspace = context.open_workspace(KIND, job.key)
    with temporary_beside(workspace.folder / FILE) as temporary:
        shutil.copyfile(job.file, temporary)
    num_lists = sum(preferences.num_lists.values())
    files = [describe_file(workspace.folder / FILE, FILE, num_rows=num_lists)]
    config = context.config
    return ReferenceSet(
        stage="train",
        key=job.key,
        digest=compute_digest(files),
        files=files,
        counts=Counts(num_in=num_lists, num_kept=num_lists),
        parents=as_parents(preferences),
        producer=describe_producer(config.train.seed, config.train.threads, device),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        policy_digest=job.policy.digest,
        crops=job.crops,
    )
