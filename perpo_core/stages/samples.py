"""Samples in their files, and as scoring wants them: truth and frame, without their images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perpo_core.perception.boxes import Frame
from perpo_core.perception.frames import build_framer
from perpo_core.perception.rewards import Item, Row, Target
from perpo_core.stages.stage import StageContext
from perpo_core.store.id_index import IdIndex, read_ids
from perpo_core.store.packs import PREFIX, Images
from perpo_core.store.row_reader import RowReader, read_columns
from perpo_core.store.store import Store
from schemas.arrow import SAMPLES
from schemas.artifact import SampleSet
from schemas.base import Split, TaskName
from schemas.run import SampleFiles

SAMPLE_COLUMNS = ["sample_id", "prompt_id", "task", "split", "width", "height", "target"]
KEPT_FRAMES = 1024  # images of a night have few sizes
SCORABLE_COLUMNS = ["sample_id", "task", "width", "height", "target"]


@dataclass(frozen=True)
class ScorableSample:
    """What scoring needs of a sample."""

    sample_id: str
    task: TaskName
    target: Target
    frame: Frame


def build_item(sample: ScorableSample, text: str, rows: SampleRows) -> Item:
    """An answer to it, as a judge wants it."""
    row = rows.find(sample.sample_id)
    return Item(text, sample.task, sample.target, sample.frame, row)


class SampleRows:
    """Whole rows of a sample set and their images, by sample_id; opened when one is looked into."""

    def __init__(self, files: SampleFiles) -> None:
        self.files = files

    def find(self, sample_id: str) -> Row:
        """Reads nothing yet."""
        return SampleRow(self, sample_id)

    def read(self, sample_id: str) -> dict[str, Any]:
        """A row of schemas.arrow.SAMPLES."""
        return self._rows.read(self._index.find(sample_id)[0])

    @cached_property
    def images(self) -> Images:
        return Images(self.files.packs)

    @cached_property
    def _rows(self) -> RowReader:
        return RowReader(self.files.parts, SAMPLES.names)

    @cached_property
    def _index(self) -> IdIndex:
        return IdIndex(read_ids(self.files.parts, "sample_id"))


@dataclass(frozen=True)
class SampleRow:
    """One of them (perpo_core.perception.rewards.Row)."""

    rows: SampleRows
    sample_id: str

    @cached_property
    def columns(self) -> dict[str, Any]:
        return self.rows.read(self.sample_id)

    @property
    def packs(self) -> list[Path]:
        return self.rows.files.packs

    def read_images(self) -> list[bytes]:
        return [self.rows.images.read(name) for name in self.columns["images"]]


def list_sample_files(store: Store, samples: SampleSet) -> SampleFiles:
    """Where a sample set lies. Raises ValueError for one of an earlier version of the program."""
    parts, packs = store.paths(samples), store.paths(samples, PREFIX)
    if not parts:
        raise ValueError(
            f"the samples {samples.key[:12]} were collected by an earlier version of perpo; run "
            "again from collect"
        )
    return SampleFiles(parts=parts, packs=packs)


def read_samples(
    store: Store, samples: SampleSet, columns: list[str], splits: Sequence[str] = ()
) -> pa.Table:
    """Columns of a sample set, of all splits or some, in the files' order."""
    filters = [("split", "in", list(splits))] if splits else None
    parts = list_sample_files(store, samples).parts
    return pa.concat_tables(pq.read_table(part, columns=columns, filters=filters) for part in parts)


class SamplesByPrompt:
    """The samples of a split by their prompt; rows are read when they are asked for."""

    def __init__(
        self, store: Store, samples: SampleSet, split: Split, columns: Sequence[str]
    ) -> None:
        parts = list_sample_files(store, samples).parts
        self._rows = RowReader(parts, columns)
        self._numbers_of: dict[str, list[tuple[str, int]]] = {}
        for part, span in zip(parts, self._rows.spans, strict=True):
            table = read_columns(part, ["sample_id", "prompt_id", "split"])
            chosen = pc.indices_nonzero(pc.equal(table["split"], split))
            ids = table.select(["sample_id", "prompt_id"]).take(chosen).to_pydict().values()
            for number, sample_id, prompt_id in zip(chosen.to_pylist(), *ids, strict=True):
                self._numbers_of.setdefault(prompt_id, []).append((sample_id, span.start + number))
        for numbers in self._numbers_of.values():
            numbers.sort()

    @property
    def prompt_ids(self) -> Iterable[str]:
        return self._numbers_of

    def __contains__(self, prompt_id: object) -> bool:
        return prompt_id in self._numbers_of

    def list_ids(self, prompt_ids: Iterable[str] | None = None) -> list[str]:
        """The sample_ids of some prompts or all, of one prompt ascending."""
        wanted = self._numbers_of if prompt_ids is None else prompt_ids
        return [i for prompt_id in wanted for i, _ in self._numbers_of[prompt_id]]

    def load(self, prompt_ids: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """prompt_id -> the rows of its samples, in order of sample_id."""
        numbers = {prompt_id: self._numbers_of[prompt_id] for prompt_id in prompt_ids}
        rows = iter(self._rows.read_many([n for found in numbers.values() for _, n in found]))
        return {prompt_id: [next(rows) for _ in found] for prompt_id, found in numbers.items()}


class ScorableSamples(SamplesByPrompt):
    """The same as scoring wants them, with the frames of the policy's box format."""

    def __init__(self, context: StageContext, samples: SampleSet, split: Split) -> None:
        super().__init__(context.store, samples, split, SCORABLE_COLUMNS)
        self.split = split
        policy = context.config.policy
        build_frame = build_framer(policy.box_format, context.policy.folder, policy.pixel_limits)
        self._build_frame = lru_cache(KEPT_FRAMES)(build_frame)

    def build(self, prompt_ids: Iterable[str]) -> dict[str, list[ScorableSample]]:
        """prompt_id -> its samples, in order of sample_id.

        Not for a prompt that the policy refused: its processor has no frame for such an image.
        """
        return {
            prompt_id: [self._build(row) for row in rows]
            for prompt_id, rows in self.load(prompt_ids).items()
        }

    def _build(self, row: dict[str, Any]) -> ScorableSample:
        frame = self._build_frame(row["width"], row["height"])
        return ScorableSample(row["sample_id"], row["task"], row["target"], frame)
