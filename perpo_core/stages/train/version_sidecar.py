"""Degraded versions as an artifact: what they are keyed by, and their commit.

    <store>/degraded/<key>/part-00000.parquet     one row a list (schemas.arrow.DEGRADED)

A key covers the lists, the policy, whose tokenizer and processor write them, how answers are read,
the number of degrees and the seed: nothing else of the train section.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from perpo_core.policy.reading import find_reading
from perpo_core.stages.stage import StageContext
from perpo_core.store.atomic import temporary_beside
from perpo_core.store.keys import compute_digest
from perpo_core.store.keys import compute_key as compute_stage_key
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.row_reader import read_columns
from perpo_core.store.workspace import Workspace
from schemas.artifact import Counts, DegradedSet, FileRef, PreferenceSet
from schemas.config import RefreshConfig
from schemas.run import DegradedJob, PolicyRef

KIND = "degraded"
VERSION = 1


def compute_key(config: RefreshConfig, policy: PolicyRef, preferences: PreferenceSet) -> str:
    """Lists, policy, reading of answers, degrees, seed."""
    settings = {
        "degrees": config.train.degrees,
        "seed": config.train.seed,
        "policy_digest": policy.digest,
        "box_format": config.policy.box_format,
        "count_reading": config.score.count_reading,
        "reading": find_reading(policy),
        **config.policy.pixel_limits.describe(),
    }
    return compute_stage_key(KIND, VERSION, as_parents(preferences), settings)


def build_job(
    context: StageContext, preferences: PreferenceSet, folder: Path
) -> DegradedJob | None:
    """Where the versions lie, or are written by the child; None where no degree is told.

    What is not in the store comes below `folder`, where a restart finds it.
    """
    if not context.config.train.degree_weight:
        return None
    key = compute_key(context.config, context.policy, preferences)
    found = context.store.find(KIND, key, context.log)
    if found:
        return DegradedJob(key=key, parts=context.store.paths(found), is_kept=True)
    names = [file.path for file in preferences.files if file.path.startswith("part-")]
    return DegradedJob(key=key, parts=[folder / key / name for name in names], is_kept=False)


def commit(context: StageContext, preferences: PreferenceSet, job: DegradedJob) -> DegradedSet:
    """Copy what the child has written into the store; the table there, if it has it by now.

    What the child wrote stays where a restart finds it.
    """
    own = replace(context, force=False)
    committed: DegradedSet = own.make_alone(KIND, job.key, lambda: _make(own, preferences, job))[0]
    return committed


def _make(context: StageContext, preferences: PreferenceSet, job: DegradedJob) -> DegradedSet:
    started = time.monotonic()
    workspace = context.open_workspace(KIND, job.key)
    files = [_copy(workspace, path) for path in job.parts]
    train = context.config.train
    return DegradedSet(
        stage="train",
        key=job.key,
        digest=compute_digest(files),
        files=files,
        counts=count_versions(job.parts),
        parents=as_parents(preferences),
        producer=describe_producer(train.seed, train.threads),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
    )


def count_versions(paths: Sequence[Path]) -> Counts:
    """Lists of a table; dropped are those without versions, by reason."""
    reasons: Counter[str | None] = Counter()
    for path in paths:
        reasons.update(read_columns(path, ["reason"])["reason"].to_pylist())
    num_kept = reasons.pop(None, 0)
    dropped = {str(reason): number for reason, number in sorted(reasons.items(), key=str)}
    return Counts(num_in=num_kept + sum(dropped.values()), num_kept=num_kept, dropped=dropped)


def _copy(workspace: Workspace, path: Path) -> FileRef:
    with temporary_beside(workspace.folder / path.name) as temporary:
        shutil.copyfile(path, temporary)
    return workspace.describe_table(path.name)
