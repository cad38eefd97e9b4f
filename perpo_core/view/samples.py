"""Samples: every prompt with its truth, in every split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from perpo_core.report.pictures import show_lines
from perpo_core.store.id_index import IdIndex
from perpo_core.store.row_reader import RowReader
from perpo_core.view.choosing import build_filter, join_texts
from perpo_core.view.files import Absent, RunFiles
from perpo_core.view.numbers import Mask, Numbers, build_index, read_codes, read_prefixes
from perpo_core.view.query import Query
from perpo_core.view.showing import SHORT_LIMIT, Question, Showing

COLUMNS = ("sample_id", "prompt_id", "task", "split", "images", "prompt", "target", "source",
           "licence", "row")  # fmt: skip
TEXTS = ("prompt", "target.text")
FACTS = ("row", "source", "licence")


@dataclass(frozen=True)
class SampleCard:
    """A sample, and where it comes from."""

    question: Question
    facts: list[tuple[str, str]]


class SamplesTab:
    """The samples of a run."""

    gap_label = ""
    orders: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()

    def __init__(self, files: RunFiles, showing: Showing) -> None:
        self._paths = list(files.open("collect", "part-", COLUMNS).values())
        if not self._paths:
            raise Absent("The samples were collected by an earlier version of perpo.")
        self._showing = showing
        self._rows, self._texts = RowReader(self._paths, COLUMNS), RowReader(self._paths, TEXTS)
        self.num_rows = len(self._rows)
        self.tasks, self.splits = (read_codes(self._paths, name) for name in ("task", "split"))
        self.filters = [
            build_filter("task", "all tasks", self.tasks),
            build_filter("split", "all splits", self.splits),
        ]

    @cached_property
    def index(self) -> IdIndex:
        """Rows by sample_id."""
        return build_index(read_prefixes(self._paths, "sample_id"))

    def match(self, query: Query) -> Mask:
        mask = np.ones(self.num_rows, np.bool_)
        for codes, wanted in ((self.tasks, query.task), (self.splits, query.split)):
            if wanted:
                mask &= codes.match(wanted)
        return mask

    def sort(self, numbers: Numbers, order: str) -> Numbers:
        del order  # there is nothing to sort by
        return numbers

    def read_texts(self, numbers: Numbers) -> list[str]:
        rows = self._texts.read_many(numbers.tolist())
        return [f"{join_texts(row)}\n{_join_truths(row.get('target') or {})}" for row in rows]

    def read_rows(self, numbers: Numbers) -> list[dict[str, Any]]:
        """Rows of schemas.arrow.SAMPLES."""
        return self._rows.read_many(numbers.tolist())

    def find_row(self, sample_id: str) -> dict[str, Any] | None:
        """The row of a sample; None where there is none."""
        for number in self.index.find(sample_id):
            row = self._rows.read(number)
            if row["sample_id"] == sample_id:
                return row
        return None

    def build_cards(self, numbers: Numbers) -> list[SampleCard]:
        return [self.build_card(row) for row in self.read_rows(numbers)]

    def build_card(self, row: Mapping[str, Any]) -> SampleCard:
        """A row of schemas.arrow.SAMPLES."""
        facts = [(name, show_lines(row[name], SHORT_LIMIT)) for name in FACTS if row[name]]
        return SampleCard(self._showing.build_question(row, row["split"]), facts)


def _join_truths(target: Mapping[str, Any]) -> str:
    truths = [target, *(target.get("others") or [])]
    return "\n".join(truth.get("text") or "" for truth in truths)
