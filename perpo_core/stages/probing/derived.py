"""The set of samples with other images: made once of a parent, a number and the ways."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from perpo_core.stages.earlier import share_files
from perpo_core.stages.probing.choosing import choose_rows
from perpo_core.stages.probing.others import choose_others
from perpo_core.stages.probing.pictures import Pictures
from perpo_core.stages.samples import SampleRows, list_sample_files, read_samples
from perpo_core.stages.stage import StageContext
from perpo_core.store.keys import (
    compute_digest,
    compute_hash,
    compute_key,
    compute_prompt_id,
    compute_sample_id,
)
from perpo_core.store.packs import PREFIX, PackWriter
from perpo_core.store.provenance import as_parents, describe_producer, utc_now
from perpo_core.store.row_reader import read_columns
from perpo_core.store.store import Store
from schemas.arrow import SAMPLES
from schemas.artifact import Counts, FileRef, SampleSet
from schemas.base import Split, TaskName
from schemas.probing import WAYS, ProbeWay

KIND = "samples"
VERSION = 1
SPLIT: Split = "test"  # shown, and nothing else: no gate looks at it
PART = "part-00000.parquet"
NO_OTHER = "no other image to show"  # the reason of what is dropped
NOTED_COLUMNS = ["row", "prompt_id", "image_id", "task", "width", "height", "target", "images"]

Row = dict[str, Any]


@dataclass(frozen=True)
class ProbedRow:
    """A sample as it is asked with other images."""

    way: ProbeWay
    sample_id: str
    """Of the sample that it is made of."""
    prompt_id: str
    """Of what is asked."""
    image_id: str
    """Of the right image."""
    task: TaskName
    size: tuple[int, int]
    """Width and height in pixels of the image that is shown."""
    target: dict[str, Any]
    images: list[str]


def make_probed_samples(
    context: StageContext, samples: SampleSet, num_of_task: int
) -> SampleSet | None:
    """At most `num_of_task` samples of each task in every way, from the store where it has them.

    None where the split has no samples.
    """
    key = _compute_key(samples, num_of_task)
    found: SampleSet | None = context.find(KIND, key, context.log)
    if found is not None:
        return found
    columns = ["sample_id", "task"]
    named = read_samples(context.store, samples, columns, [SPLIT]).to_pylist()
    if not named:
        return None
    chosen = [row["sample_id"] for row in choose_rows(named, num_of_task)]
    made, _ = context.make_alone(KIND, key, lambda: _make(context, key, samples, chosen))
    committed: SampleSet = made
    return committed


def read_probed(store: Store, probed: SampleSet) -> list[ProbedRow]:
    """Its rows, in the file's order."""
    rows = [
        row
        for part in list_sample_files(store, probed).parts
        for row in read_columns(part, NOTED_COLUMNS).to_pylist()
    ]
    return [_note(row) for row in rows]


def _note(row: Row) -> ProbedRow:
    way, _, sample_id = row["row"].partition("/")
    kept = {name: row[name] for name in ("prompt_id", "image_id", "task", "target", "images")}
    return ProbedRow(way=way, sample_id=sample_id, size=(row["width"], row["height"]), **kept)


def _compute_key(samples: SampleSet, num_of_task: int) -> str:
    settings = {"ways": WAYS, "num_of_task": num_of_task, "split": SPLIT}
    return compute_key("probe", VERSION, as_parents(samples), settings)


def _make(context: StageContext, key: str, samples: SampleSet, chosen: Sequence[str]) -> SampleSet:
    started = time.monotonic()
    workspace = context.open_workspace(KIND, key)
    whole = SampleRows(list_sample_files(context.store, samples))
    rows_of = {sample_id: whole.read(sample_id) for sample_id in chosen}
    other_of = _choose_all(rows_of.values())
    with PackWriter(workspace, compute_hash(["probing", VERSION])) as writer:
        pictures = Pictures(whole.images, writer)
        rows = [
            build_row(way, row, other_of.get(row["sample_id"]), pictures)
            for row in rows_of.values()
            for way in WAYS
            if way != "shuffled" or row["sample_id"] in other_of
        ]
    part = workspace.write_table(PART, pa.Table.from_pylist(rows, SAMPLES))
    without = [row["task"] for row in rows_of.values() if row["sample_id"] not in other_of]
    for task, number in Counter(without).items():
        context.log(
            f"warning: for {number} probed {task} samples there is no other image to show; more "
            "than half of them may ask about one"
        )
    return SampleSet(
        stage="evaluate",
        key=key,
        digest=compute_digest([part]),
        files=[part, *writer.files, *_list_packs(context.store, samples, pictures.taken)],
        counts=Counts(
            num_in=len(rows_of) * len(WAYS),
            num_kept=len(rows),
            dropped={NO_OTHER: len(without)} if without else {},
        ),
        parents=as_parents(samples),
        producer=describe_producer(seed=0),
        created_at=utc_now(),
        seconds=time.monotonic() - started,
        attempt=workspace.attempt,
        per_split=dict(Counter(f"{row['task']}/{row['split']}" for row in rows)),
    )


def _choose_all(rows: Iterable[Row]) -> dict[str, Row]:
    """sample_id -> the sample that lends its images: of the same task, and as many of them."""
    groups: dict[tuple[TaskName, int], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], len(row["images"])), {})[row["sample_id"]] = row
    pairs = [
        (group[sample_id], group[other])
        for group in groups.values()
        for sample_id, other in choose_others({i: r["image_id"] for i, r in group.items()}).items()
    ]
    # Of several images each has to be another one.
    return {
        row["sample_id"]: other
        for row, other in pairs
        if not set(row["images"]) & set(other["images"])
    }


def build_row(way: ProbeWay, row: Row, other: Row | None, pictures: Pictures) -> Row:
    """The row of SAMPLES of a sample with other images."""
    images = pictures.show(way, row, other)
    prompt_id = compute_prompt_id(images, row["prompt"])
    width, height = pictures.measure(images[row["target"].get("image") or 0])
    return row | {
        "sample_id": compute_sample_id(prompt_id, row["target"]),
        "prompt_id": prompt_id,
        "images": images,
        "width": width,
        "height": height,
        "row": f"{way}/{row['sample_id']}",
    }


def _list_packs(store: Store, samples: SampleSet, wanted: set[str]) -> list[FileRef]:
    """The parent's packs that hold any of these images."""
    return [
        each.file
        for each in share_files(store, samples, PREFIX)
        if wanted & set(read_columns(each.path, ["image_hash"])["image_hash"].to_pylist())
    ]
