"""Stage 1: prompts with truth and their images, from any source.

    part-00000.parquet     rows (schemas.arrow.SAMPLES), PART_ROWS a part
    pack-*.parquet         the images that rows name (perpo_core/store/packs.py)
    dropped.parquet        rows that did not become a sample

The key is the content of the source (files and every image they name) and its settings; the policy
is no part of it, so that a promotion never collects again. Rows and images are written as they
come, so that memory holds a row group of each. Images that an earlier set has are neither opened
nor written again. Equal input gives equal rows and an equal digest, whoever wrote the packs.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa

from perpo_core.stages.collect.known import Packed, find_packed
from perpo_core.stages.collect.sources import SOURCES
from perpo_core.stages.collect.sources.rows import SampleRow, SetAside
from perpo_core.stages.stage import Asked, StageContext
from perpo_core.store import keys
from perpo_core.store.packs import PackWriter
from perpo_core.store.provenance import describe_producer, utc_now
from perpo_core.store.workspace import Workspace
from schemas.arrow import DROPPED, SAMPLES
from schemas.artifact import Counts, FileRef, SampleSet
from schemas.base import Split
from schemas.config import RefreshConfig
from schemas.run import PolicyRef

KIND = "samples"
VERSION = 4
LOOKING_VERSION = 1  # raised when a file's image in the store becomes another
DROPPED_FILE = "dropped.parquet"
PART_ROWS, GROUP_ROWS = 1 << 16, 1 << 12
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
    looking_digest, tally = compute_looking_digest(context.config), Tally()
    packed = find_packed(context, workspace, looking_digest)
    with PackWriter(workspace, looking_digest) as writer:
        rows = _read(context, tally, asked.inputs, packed)
        parts = _write_parts(workspace, _pack(rows, packed, writer))
    _check_splits(context, tally.per_split)
    dropped = workspace.write_table(DROPPED_FILE, pa.Table.from_pylist(tally.dropped, DROPPED))
    packs = packed.list_used(writer.files)
    reasons = Counter(row["reason"] for row in tally.dropped)
    num_kept = sum(tally.per_split.values())
    context.log(f"collected {num_kept} samples {_list(tally.per_split)}, dropped {_list(reasons)}")
    context.log(f"images: {packed.num_new} new, {packed.num_found} in the store already")
    return SampleSet(
        stage="collect",
        key=key,
        digest=keys.compute_digest([*parts, dropped]),
        files=[*parts, dropped, *packs],
        counts=Counts(
            num_in=num_kept + len(tally.dropped), num_kept=num_kept, dropped=dict(reasons)
        ),
        parents=[],
        producer=describe_producer(seed=getattr(context.config.source, "seed", 0)),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        looking_digest=looking_digest,
        per_split=dict(tally.per_split),
    )


@dataclass
class Tally:
    """What happened to the rows so far."""

    per_split: Counter[str] = field(default_factory=Counter)
    """"task/split" -> samples."""
    dropped: list[dict[str, str]] = field(default_factory=list)
    """Rows of DROPPED."""


def _read(
    context: StageContext, tally: Tally, identity: Any, packed: Packed
) -> Iterator[SampleRow]:
    """The source's samples; rows set aside go to the tally, and progress is shown."""
    source = context.config.source
    module = SOURCES[source.kind]
    total = module.count_rows(source)
    items = module.iterate_samples(source, identity, packed.by_file)
    for done, item in enumerate(items, start=1):
        if done % PROGRESS_EVERY_ROWS == 0 or done == total:
            context.progress(done, total, "rows")
        if isinstance(item, SetAside):
            tally.dropped.append(
                {"stage": "collect", "id": item.row, "reason": item.reason, "detail": item.detail}
            )
        else:
            tally.per_split[f"{item['task']}/{item['split']}"] += 1
            yield item


def _pack(rows: Iterable[SampleRow], packed: Packed, writer: PackWriter) -> Iterator[SampleRow]:
    """The rows, each image of theirs in a pack and no longer in memory."""
    for row in rows:
        packed.place(row.pop("image"), row.pop("file_hash"), writer)
        yield row


def _write_parts(workspace: Workspace, rows: Iterator[SampleRow]) -> list[FileRef]:
    parts: list[FileRef] = []
    while first := list(islice(rows, 1)):
        held = islice(rows, PART_ROWS - 1)
        name = f"part-{len(parts):05d}.parquet"
        parts.append(workspace.write_batches(name, SAMPLES, _batch(first, held)))
    return parts


def _batch(first: list[SampleRow], rows: Iterator[SampleRow]) -> Iterator[pa.RecordBatch]:
    """Rows by the row group."""
    held = first
    while held:
        held += islice(rows, GROUP_ROWS - len(held))
        yield pa.RecordBatch.from_pylist(held, SAMPLES)
        held = list(islice(rows, 1))


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
