"""Stage 1: prompts with images and truth, from any source, into samples.parquet.

The key is the content of the source (files and every image they name) and its settings; the policy
is no part of it, so that a promotion never collects again. Rows are written as they come, in
batches, so that memory holds one batch of encoded images. Equal input gives equal bytes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from perpo_core.stages.collect.sources import SOURCES
from perpo_core.stages.collect.sources.rows import SampleRow, SetAside
from perpo_core.stages.stage import Asked, StageContext
from perpo_core.store import keys
from perpo_core.store.provenance import describe_producer, utc_now
from perpo_core.store.workspace import ROW_GROUP_ROWS
from schemas.arrow import DROPPED, SAMPLES
from schemas.artifact import Counts, SampleSet
from schemas.base import Split
from schemas.config import RefreshConfig
from schemas.run import PolicyRef

KIND = "samples"
VERSION = 3
SAMPLES_FILE = "samples.parquet"
DROPPED_FILE = "dropped.parquet"
BATCH_BYTES = 64 << 20  # of encoded images: what a reader of one row group must hold
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


def run(context: StageContext, key: str, *parents: Any) -> SampleSet:
    """Read the source to its end; raises ValueError, one sentence, where it cannot be used.

    Raises InputChanged where it is not, or no longer, what the key was computed from.
    """
    del parents
    started = time.monotonic()
    asked = key if isinstance(key, Asked) else compute_samples_key(context.config)
    workspace = context.open_workspace(KIND, key)
    tally = Tally()
    rows = _read(context, tally, asked.inputs)
    samples = workspace.write_batches(SAMPLES_FILE, SAMPLES, _batch(rows))
    _check_splits(context, tally.per_split)
    dropped = workspace.write_table(DROPPED_FILE, pa.Table.from_pylist(tally.dropped, DROPPED))
    reasons = Counter(row["reason"] for row in tally.dropped)
    num_kept = sum(tally.per_split.values())
    context.log(f"collected {num_kept} samples {_list(tally.per_split)}, dropped {_list(reasons)}")
    return SampleSet(
        stage="collect",
        key=key,
        digest=keys.compute_digest([samples, dropped]),
        files=[samples, dropped],
        counts=Counts(
            num_in=num_kept + len(tally.dropped), num_kept=num_kept, dropped=dict(reasons)
        ),
        parents=[],
        producer=describe_producer(seed=getattr(context.config.source, "seed", 0)),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        per_split=dict(tally.per_split),
    )


@dataclass
class Tally:
    """What happened to the rows so far."""

    per_split: Counter[str] = field(default_factory=Counter)
    """"task/split" -> samples."""
    dropped: list[dict[str, str]] = field(default_factory=list)
    """Rows of DROPPED."""


def _read(context: StageContext, tally: Tally, identity: Any) -> Iterator[SampleRow]:
    """The source's samples; rows set aside go to the tally, and progress is shown."""
    source = context.config.source
    module = SOURCES[source.kind]
    total = module.count_rows(source)
    for done, item in enumerate(module.iterate_samples(source, identity), start=1):
        if done % PROGRESS_EVERY_ROWS == 0 or done == total:
            context.progress(done, total, "rows")
        if isinstance(item, SetAside):
            tally.dropped.append(
                {"stage": "collect", "id": item.row, "reason": item.reason, "detail": item.detail}
            )
        else:
            tally.per_split[f"{item['task']}/{item['split']}"] += 1
            yield item


def _batch(rows: Iterable[SampleRow]) -> Iterator[pa.RecordBatch]:
    """Rows by the row group: at most ROW_GROUP_ROWS, and no more images than BATCH_BYTES."""
    held: list[SampleRow] = []
    num_bytes = 0
    for row in rows:
        size = sum(len(image["bytes"]) for image in row["images"])
        if held and (len(held) == ROW_GROUP_ROWS or num_bytes + size > BATCH_BYTES):
            yield pa.RecordBatch.from_pylist(held, SAMPLES)
            held, num_bytes = [], 0
        held.append(row)
        num_bytes += size
    if held:
        yield pa.RecordBatch.from_pylist(held, SAMPLES)


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
