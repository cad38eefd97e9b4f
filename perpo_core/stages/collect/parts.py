"""The rows of a set of samples by the part: shared with an earlier set where they are the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from perpo_core.stages.collect.known import Packed
from perpo_core.stages.collect.sources.rows import Chunk, SampleRow, SetAside
from perpo_core.stages.earlier import SharedParts
from perpo_core.store.packs import PackWriter
from perpo_core.store.row_reader import read_columns
from perpo_core.store.workspace import Workspace
from schemas.arrow import SAMPLES
from schemas.artifact import FileRef

MOST_ROWS, GROUP_ROWS = 1 << 16, 1 << 12
LOOKED_AT = ["row", "sample_id", "task", "split"]


@dataclass
class Tally:
    """What happened to the rows so far."""

    num_rows: int = 0
    per_split: Counter[str] = field(default_factory=Counter)
    """"task/split" -> samples."""
    dropped: list[dict[str, str]] = field(default_factory=list)
    """Rows of schemas.arrow.DROPPED."""

    def count(self, item: SampleRow | SetAside) -> None:
        if not isinstance(item, SetAside):
            self.keep(item["task"], item["split"])
            return
        self.num_rows += 1
        self.dropped.append(
            {"stage": "collect", "id": item.row, "reason": item.reason, "detail": item.detail}
        )

    def keep(self, task: str, split: str, num_rows: int = 1) -> None:
        self.num_rows += num_rows
        self.per_split[f"{task}/{split}"] += num_rows


@dataclass
class PartMaker:
    """Makes the parts of one set, and has the images of their rows in packs."""

    workspace: Workspace
    shared: SharedParts
    packed: Packed
    writer: PackWriter
    version: object
    """JSON: of all that makes samples of a chunk."""
    show: Callable[[int], None]
    """Is told how many rows are done."""
    tally: Tally = field(default_factory=Tally)
    files: list[FileRef] = field(default_factory=list)
    num_reused: int = 0
    """Samples of parts that are shared."""

    def take(self, chunk: Chunk) -> None:
        """Add the part of a chunk, none where it has no sample."""
        if not self._share(chunk):
            self._build(chunk)

    def _share(self, chunk: Chunk) -> bool:
        identity = chunk.identify()
        if identity is None:
            return False
        made_of = [self.version, identity]
        file = self.workspace.find_part(self._name, made_of) or self.shared.find(
            self._name, made_of
        )
        return file is not None and self._adopt(chunk, file)

    def _adopt(self, chunk: Chunk, file: FileRef) -> bool:
        table = read_columns(self.workspace.locate_file(file), LOOKED_AT)
        rows, sample_ids, tasks, splits = (column.to_pylist() for column in table.columns)
        set_aside = chunk.adopt(rows, sample_ids)
        if set_aside is None:
            return False
        for item in set_aside:
            self.tally.count(item)
        for (task, split), number in Counter(zip(tasks, splits, strict=True)).items():
            self.tally.keep(task, split, number)
        for image in chunk.list_images():
            self.packed.place(image.stored, image.file_hash, self.writer)
        self.files.append(file)
        self.num_reused += table.num_rows
        self.show(self.tally.num_rows)
        return True

    def _build(self, chunk: Chunk) -> None:
        rows, first = self._pack(chunk.iterate()), len(self.files)
        for row in rows:  # the first of a part: none is made without
            part = chain([row], islice(rows, MOST_ROWS - 1))
            file = self.workspace.write_groups(self._name, SAMPLES, _group(part))
            self.files.append(file)
        identity = chunk.identify()
        if identity is not None and len(self.files) == first + 1:
            self.files[-1] = self.workspace.finish_part(self.files[-1], [self.version, identity])

    @property
    def _name(self) -> str:
        """Of the part that comes next."""
        return f"part-{len(self.files):05d}.parquet"

    def _pack(self, items: Iterable[SampleRow | SetAside]) -> Iterator[SampleRow]:
        """The samples, the image of each in a pack and no longer in memory."""
        for item in items:
            self.tally.count(item)
            self.show(self.tally.num_rows)
            if not isinstance(item, SetAside):
                for image in item.pop("row_images"):
                    self.packed.place(image.stored, image.file_hash, self.writer)
                yield item


def _group(rows: Iterator[SampleRow]) -> Iterator[list[SampleRow]]:
    while group := list(islice(rows, GROUP_ROWS)):
        yield group
