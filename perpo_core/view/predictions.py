"""Held-out answers: base against trained, greedy side by side, and the sampled ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from perpo_core.store.id_index import IdIndex
from perpo_core.store.row_reader import RowReader, read_columns
from perpo_core.view.choosing import Filter, build_filter, join_texts
from perpo_core.view.files import Absent, RunFiles
from perpo_core.view.numbers import (
    Mask,
    Numbers,
    build_index,
    read_are_null,
    read_codes,
    read_floats,
    read_prefixes,
    within,
)
from perpo_core.view.query import Query
from perpo_core.view.samples import SamplesTab
from perpo_core.view.showing import Question, Showing, Tile

FILE = "predictions.parquet"
COLUMNS = ("sample_id", "task", "split", "policy", "index", "text", "reward", "rewards", "error")
REQUIRED = tuple(name for name in COLUMNS if name != "rewards")  # younger than the others
POLICIES = ("base", "trained")
GREEDY = -1
CHANGES = [("", "any change"), ("better", "better"), ("worse", "worse"), ("same", "same reward"),
           ("text", "another text")]  # fmt: skip
ERRORS = [("", "any answers"), ("any", "an unreadable answer"), ("none", "both readable")]


@dataclass(frozen=True)
class ChangeCard:
    """A question with the greedy answers of both policies."""

    question: Question
    gap: float
    """Trained minus base."""
    tiles: list[Tile]


class PredictionsTab:
    """The samples that both policies answered."""

    gap_label = "Gain"
    orders = (("", "as stored"), ("widest", "largest gain first"), ("narrowest", "smallest first"))
    notes: Sequence[str] = ()

    def __init__(self, files: RunFiles, showing: Showing, samples: SamplesTab) -> None:
        self._paths = list(files.open("evaluate", FILE, REQUIRED).values())
        if not self._paths:
            raise Absent(f"The evaluation holds no {FILE}.")
        self._showing, self._samples = showing, samples
        self._rows = RowReader(self._paths, COLUMNS)
        self._ids = np.concatenate(read_prefixes(self._paths, "sample_id"))
        self._pair_rows()
        self.num_rows = len(self._base)
        known = samples.index.find_first(self._ids[self._base])
        self._sample_rows = known
        tasks, splits = (read_codes(self._paths, name) for name in ("task", "split"))
        self._tasks, self._splits = tasks.take(self._base), splits.take(self._base)
        self.filters = [
            build_filter("task", "all tasks", self._tasks),
            build_filter("split", "all splits", self._splits),
            Filter("change", "Change", CHANGES),
            Filter("error", "Errors", ERRORS),
        ]

    def _pair_rows(self) -> None:
        """[samples] the rows of both greedy answers, their gain, and whether one is unreadable."""
        policies = read_codes(self._paths, "policy")
        is_greedy = read_floats(self._paths, "index") == GREEDY
        base, trained = (np.flatnonzero(is_greedy & policies.match(name)) for name in POLICIES)
        found = build_index([self._ids[trained]]).find_first(self._ids[base])
        self._base, self._trained = base[found >= 0], trained[found[found >= 0]]
        rewards = np.nan_to_num(read_floats(self._paths, "reward"))
        self._gains = rewards[self._trained] - rewards[self._base]
        is_read = read_are_null(self._paths, "error")
        self._are_unreadable = ~(is_read[self._base] & is_read[self._trained])

    @cached_property
    def _index(self) -> IdIndex:
        return build_index([self._ids])

    @cached_property
    def _have_other_text(self) -> Mask:
        """[samples] whether the two greedy answers differ; texts are held by their hash alone."""
        parts = [np.zeros(0, np.int64)]
        for path in self._paths:
            texts = read_columns(path, ["text"])["text"].to_pylist()
            parts.append(np.fromiter(map(hash, texts), np.int64, len(texts)))
        hashes = np.concatenate(parts)
        return hashes[self._base] != hashes[self._trained]

    def match(self, query: Query) -> Mask:
        mask = within(self._gains, query.least, query.most)
        for codes, wanted in ((self._tasks, query.task), (self._splits, query.split)):
            if wanted:
                mask &= codes.match(wanted)
        if query.error:
            mask &= self._are_unreadable == (query.error == "any")
        if query.change:
            mask &= self._match_change(query.change)
        return mask

    def _match_change(self, change: str) -> Mask:
        if change == "text":
            return self._have_other_text
        gains = self._gains
        return gains > 0 if change == "better" else gains < 0 if change == "worse" else gains == 0

    def sort(self, numbers: Numbers, order: str) -> Numbers:
        gains = self._gains[numbers]
        return numbers[np.argsort(-gains if order == "widest" else gains, kind="stable")]

    def read_texts(self, numbers: Numbers) -> list[str]:
        base, trained, samples = self._read(numbers)
        return [
            "\n".join([join_texts(sample) if sample else "", b["text"], t["text"]])
            for b, t, sample in zip(base, trained, samples, strict=True)
        ]

    def build_cards(self, numbers: Numbers) -> list[ChangeCard]:
        gains = self._gains[numbers].tolist()
        return [
            ChangeCard(
                self._showing.build_question(sample, b["split"]), gain,
                [self._build_tile(sample, b, "base"), self._build_tile(sample, t, "trained")],
            )
            for b, t, sample, gain in zip(*self._read(numbers), gains, strict=True)
        ]  # fmt: skip

    def _read(self, numbers: Numbers) -> tuple[list[Any], list[Any], list[Any]]:
        """[samples] both answers, and the sample or what is known of it without its row."""
        base = self._rows.read_many(self._base[numbers].tolist())
        trained = self._rows.read_many(self._trained[numbers].tolist())
        rows = self._sample_rows[numbers]
        found = iter(self._samples.read_rows(rows[rows >= 0]))
        samples = [
            next(found) if row >= 0 else _know_nothing(answer)
            for row, answer in zip(rows, base, strict=True)
        ]
        return base, trained, samples

    def build_tiles(self, sample: Mapping[str, Any]) -> list[Tile]:
        """Every answer of both policies to a sample: greedy, then sampled."""
        rows = self._rows.read_many(self._index.find(sample["sample_id"]))
        mine = [row for row in rows if row["sample_id"] == sample["sample_id"]]
        ordered = sorted(mine, key=lambda row: (row["index"], row["policy"]))
        return [self._build_tile(sample, row, row["policy"]) for row in ordered]

    def _build_tile(self, sample: Mapping[str, Any], row: Mapping[str, Any], policy: str) -> Tile:
        label = policy if row["index"] == GREEDY else f"{policy}, sampled {row['index'] + 1}"
        return self._showing.build_tile(
            sample, row["text"], policy, label, row["reward"], row.get("rewards") or (),
            row["error"],
        )  # fmt: skip


def _know_nothing(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A sample whose row is gone."""
    return {**{name: answer[name] for name in ("sample_id", "task", "split")}, "images": [],
            "prompt": [], "target": {}}  # fmt: skip
