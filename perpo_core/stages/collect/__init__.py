"""Stage 1: prompts with truth and their images, from any source.

    part-00000.parquet     rows (schemas.arrow.SAMPLES), those of a chunk of the source
    pack-*.parquet         the images that rows name (perpo_core/store/packs.py)
    dropped.parquet        rows that did not become a sample

The key is the content of the source (files and every image they name) and its settings; the policy
is no part of it, so that a promotion never collects again. Rows and images are written as they
come, so that memory holds a row group of each. Images that an earlier set has are neither opened
nor written again, and rows that it has are shared by the part. Equal input gives equal rows and an
equal digest, whoever wrote them.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from perpo_core.stages.collect.known import find_packed
from perpo_core.stages.collect.parts import PartMaker
from perpo_core.stages.collect.sources import SOURCES
from perpo_core.stages.earlier import find_shared_parts
from perpo_core.stages.stage import Asked, StageContext
from perpo_core.store import keys
from perpo_core.store.packs import PackWriter
from perpo_core.store.provenance import describe_producer, utc_now
from schemas.arrow import DROPPED
from schemas.artifact import Counts, SampleSet
from schemas.base import Split
from schemas.config import RefreshConfig
from schemas.run import PolicyRef

KIND = "samples"
VERSION = 5
LOOKING_VERSION = 1  # raised when a file's image in the store becomes another
DROPPED_FILE = "dropped.parquet"
PROGRESS_EVERY_ROWS = 64
WHERE_EMPTY: dict[Split, str] = {
    "train": "it is measured but not trained on",
    "selection": "it has no say in which checkpoint is kept",
    "validation": "its gates have nothing to look at",
    "test": "the report cannot show it",
}


def compute_key(config: RefreshConfig, policy: PolicyRef, *parents: Any) -> str:
    """What is asked: the source's content and settings. Raises ValueError for a missing file."""
    del policy, parents
    return compute_samples_key(config)


def compute_samples_key(config: RefreshConfig) -> Asked:
    """The key, which needs no policy."""
    identity = SOURCES[config.source.kind].compute_identity(config.source)
    key = keys.compute_key("collect", VERSION, [], {"kind": config.source.kind}, identity)
    return Asked(key, identity)


def compute_looking_digest(config: RefreshConfig) -> str:
    """How image files are read and encoded."""
    looking = SOURCES[config.source.kind].describe_looking(config.source)
    return keys.compute_hash(["looking", LOOKING_VERSION, looking])


def run(context: StageContext, key: str, *parents: Any) -> SampleSet:
    """Read the source to its end; raises ValueError, one sentence, where it cannot be used.

    Raises InputChanged where it is not, or no longer, what the key was computed from.
    """
    del parents
    started = time.monotonic()
    asked = key if isinstance(key, Asked) else compute_samples_key(context.config)
    workspace = context.open_workspace(KIND, key)
    looking_digest = compute_looking_digest(context.config)
    packed = find_packed(context, workspace, looking_digest)
    with PackWriter(workspace, looking_digest) as writer:
        shared, version = find_shared_parts(context, KIND, key), [KIND, VERSION, looking_digest]
        maker = PartMaker(workspace, shared, packed, writer, version, _build_display(context))
        source = context.config.source
        module = SOURCES[source.kind]
        for chunk in module.iterate_chunks(source, asked.inputs, packed.by_file):
            maker.take(chunk)
    tally = maker.tally
    _check_splits(context, tally.per_split)
    dropped = workspace.write_table(DROPPED_FILE, pa.Table.from_pylist(tally.dropped, DROPPED))
    files = [*maker.files, dropped]
    reasons = Counter(row["reason"] for row in tally.dropped)
    num_kept = sum(tally.per_split.values())
    context.log(f"collected {num_kept} samples {_list(tally.per_split)}, dropped {_list(reasons)}")
    if maker.num_reused:
        context.log(f"rows: {maker.num_reused} taken over from earlier sets")
    context.log(f"images: {packed.num_new} new, {packed.num_found} in the store already")
    return SampleSet(
        stage="collect",
        key=key,
        digest=keys.compute_digest(files),
        files=[*files, *packed.list_used(writer.files)],
        counts=Counts(
            num_in=tally.num_rows,
            num_kept=num_kept,
            dropped=dict(reasons),
            num_reused=maker.num_reused,
        ),
        parents=[],
        producer=describe_producer(seed=getattr(context.config.source, "seed", 0)),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        looking_digest=looking_digest,
        per_split=dict(tally.per_split),
    )


def _build_display(context: StageContext) -> Callable[[int], None]:
    """Shows how many rows are done, not each."""
    total = SOURCES[context.config.source.kind].count_rows(context.config.source)

    def show(done: int) -> None:
        if done % PROGRESS_EVERY_ROWS == 0 or done == total:
            context.progress(done, total, "rows")

    return show


def _check_splits(context: StageContext, per_split: Counter[str]) -> None:
    """Refuse a source without training samples; say where nothing can be measured."""
    tasks = sorted({name.partition("/")[0] for name in per_split})
    if not any(per_split[f"{task}/train"] for task in tasks):
        raise ValueError(
            f"source.kind = {context.config.source.kind}: the train split is empty "
            f"({_list(per_split)}); give the source training samples"
        )
    for task in tasks:
        for split, what in WHERE_EMPTY.items():
            if not per_split[f"{task}/{split}"]:
                context.log(f"warning: {task} has no {split} samples: {what}")


def _list(counts: Mapping[str, int]) -> str:
    return "(" + (", ".join(f"{name} {count}" for name, count in counts.items()) or "none") + ")"
