"""What was dropped: rows, samples and answers, with the stage and the reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from perpo_core.report.pictures import show_lines
from perpo_core.store.id_index import ID_BYTES, IdIndex
from perpo_core.store.row_reader import RowReader
from perpo_core.view.choosing import build_filter, join_texts
from perpo_core.view.files import Absent, RunFiles
from perpo_core.view.numbers import (
    PREFIX_BYTES,
    Codes,
    Mask,
    Numbers,
    build_index,
    read_codes,
    read_prefixes,
)
from perpo_core.view.query import Query
from perpo_core.view.samples import SamplesTab
from perpo_core.view.showing import SHORT_LIMIT, TEXT_LIMIT

COLUMNS = ("stage", "id", "reason", "detail")
PROMPT_LIMIT = 160
REFUSED = "dropped-refused.parquet"


@dataclass(frozen=True)
class DroppedCard:
    """A row of schemas.arrow.DROPPED."""

    stage: str
    id: str
    reason: str
    detail: str
    sample_id: str
    """Of the sample that it is, or answers; "" where there is none of that id."""
    prompt: str
    task: str


class DroppedTab:
    """Everything that some stage of a run dropped."""

    gap_label = ""
    orders: Sequence[tuple[str, str]] = ()

    def __init__(self, files: RunFiles, samples: SamplesTab) -> None:
        self._samples = samples
        self._parts, self.notes = _open_all(files)
        paths = [path for path, _ in self._parts]
        self._rows = RowReader(paths, COLUMNS)
        self.num_rows = len(self._rows)
        self._stages, self._reasons = (read_codes(paths, name) for name in ("stage", "reason"))
        self._ids = read_prefixes(paths, "id")
        rows = samples.index.find_first(
            np.concatenate([np.zeros(0, f"S{PREFIX_BYTES}"), *self._ids])
        )
        self._tasks, self._splits = samples.tasks.take(rows), samples.splits.take(rows)
        self._sample_rows = rows
        self.filters = [
            build_filter("stage", "all stages", self._stages),
            build_filter("reason", "all reasons", self._reasons),
            build_filter("task", "all tasks", self._tasks),
            build_filter("split", "all splits", self._splits),
        ]

    @cached_property
    def _index(self) -> IdIndex:
        """Rows by the beginning of their id, which is a sample_id where there is one."""
        return build_index(self._ids)

    def match(self, query: Query) -> Mask:
        mask = np.ones(self.num_rows, np.bool_)
        columns: list[tuple[Codes, str]] = [
            (self._stages, query.stage), (self._reasons, query.reason),
            (self._tasks, query.task), (self._splits, query.split),
        ]  # fmt: skip
        for codes, wanted in columns:
            if wanted:
                mask &= codes.match(wanted)
        return mask

    def sort(self, numbers: Numbers, order: str) -> Numbers:
        del order  # there is nothing to sort by
        return numbers

    def read_texts(self, numbers: Numbers) -> list[str]:
        rows = self._rows.read_many(numbers.tolist())
        texts = self._read_prompts(numbers)
        return [
            "\n".join([row["id"] or "", row["reason"] or "", row["detail"] or "", text])
            for row, text in zip(rows, texts, strict=True)
        ]

    def _read_prompts(self, numbers: Numbers) -> list[str]:
        """[rows] the prompts of their samples; "" where there is none."""
        wanted = self._sample_rows[numbers]
        known = [int(row) for row in np.unique(wanted[wanted >= 0])]
        rows = self._samples.read_rows(np.array(known, np.int64))
        prompts = {number: join_texts(row) for number, row in zip(known, rows, strict=True)}
        return [prompts.get(int(row), "") for row in wanted]

    def build_cards(self, numbers: Numbers) -> list[DroppedCard]:
        rows, prompts = self._rows.read_many(numbers.tolist()), self._read_prompts(numbers)
        tasks = self._tasks.of_row[numbers]
        return [
            DroppedCard(
                row["stage"] or "", show_lines(row["id"] or "", SHORT_LIMIT),
                show_lines(row["reason"] or "", SHORT_LIMIT),
                show_lines(row["detail"] or "", TEXT_LIMIT),
                row["id"][:ID_BYTES] if task >= 0 else "", show_lines(prompt, PROMPT_LIMIT),
                self._tasks.names[task] if task >= 0 else "",
            )
            for row, prompt, task in zip(rows, prompts, tasks, strict=True)
        ]  # fmt: skip

    def find(self, sample_id: str) -> tuple[str | None, str, dict[int, str]]:
        """What became of a sample in no list, or of its answers that are in none.

        The name of the part that tells, the reason of the sample itself ("" where it has a list),
        and index -> reason of its answers.
        """
        part, whole, reasons = None, "", dict[int, str]()
        for number in self._index.find(sample_id):
            row = self._rows.read(number)
            name, _, index = row["id"].partition("/")
            if name != sample_id:
                continue
            part = self._find_part(number) or part
            said = ": ".join(filter(None, (row["reason"], row["detail"])))
            if index.isdecimal():
                reasons[int(index)] = said
            elif not index:
                whole = f"{row['stage']}: {said}"
        return part, whole, reasons

    def _find_part(self, number: int) -> str | None:
        """The part of the candidates whose answers a row is about."""
        return self._parts[self._rows.find_file(number)][1]


def _open_all(files: RunFiles) -> tuple[list[tuple[Path, str | None]], list[str]]:
    """(file, part of the candidates that it is about), and what is not shown of which stage."""
    found: list[tuple[Path, str | None]] = []
    notes = []
    for stage in files.run.config.stages:
        if stage not in files.run.stages:
            continue
        try:
            opened = files.open(stage, "dropped", COLUMNS)
        except Absent as absent:
            notes.append(f"What {stage} dropped is not shown. {absent}")
            continue
        found += [(path, _name_part(name)) for name, path in opened.items()]
    return [each for each in found if pq.read_metadata(each[0]).num_rows], notes


def _name_part(name: str) -> str | None:
    is_of_part = name.startswith("dropped-") and name != REFUSED
    return name.replace("dropped-", "part-") if is_of_part else None
