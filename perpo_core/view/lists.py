"""Ranked lists: all ranks of each, side by side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from perpo_core.store.id_index import IdIndex
from perpo_core.store.row_reader import RowReader
from perpo_core.view.answers import Answers, Key
from perpo_core.view.choosing import Filter, build_filter, join_texts
from perpo_core.view.files import RunFiles
from perpo_core.view.numbers import (
    Mask,
    Numbers,
    build_index,
    read_codes,
    read_floats,
    read_prefixes,
    within,
)
from perpo_core.view.query import Query
from perpo_core.view.showing import Question, Showing, Tile

ANSWER = "responses.list.element"
COLUMNS = ("sample_id", "prompt_id", "task", "images", "prompt", "target", "reward_gap",
           *(f"{ANSWER}.{name}" for name in ("index", "text", "reward", "rank")))  # fmt: skip
TEXTS = ("prompt", f"{ANSWER}.text")
ERRORS = [("", "any answers"), ("any", "an unreadable answer"), ("none", "all answers readable")]


@dataclass(frozen=True)
class ListCard:
    """A list: its question, and its answers from best to worst."""

    question: Question
    gap: float
    tiles: list[Tile]


class ListsTab:
    """The lists of a run."""

    gap_label = "Reward gap"
    orders = (("", "as stored"), ("widest", "widest gap first"), ("narrowest", "narrowest first"))

    def __init__(self, files: RunFiles, showing: Showing, answers: Answers) -> None:
        self._parts = files.open("materialize", "part-", COLUMNS)
        self._paths = list(self._parts.values())
        self._showing, self._answers = showing, answers
        self._rows, self._texts = RowReader(self._paths, COLUMNS), RowReader(self._paths, TEXTS)
        self.num_rows, self.notes = len(self._rows), answers.notes
        self._tasks = read_codes(self._paths, "task")
        self._gaps = read_floats(self._paths, "reward_gap")
        self.filters = [
            build_filter("task", "all tasks", self._tasks),
            Filter("error", "Errors", ERRORS),
        ]

    @cached_property
    def index(self) -> IdIndex:
        """Rows by sample_id."""
        return build_index(read_prefixes(self._paths, "sample_id"))

    @cached_property
    def _are_unreadable(self) -> Mask:
        return self._answers.find_unreadable(self.index)

    def match(self, query: Query) -> Mask:
        mask = within(self._gaps, query.least, query.most)
        if query.task:
            mask &= self._tasks.match(query.task)
        if query.error:
            mask &= self._are_unreadable == (query.error == "any")
        return mask

    def sort(self, numbers: Numbers, order: str) -> Numbers:
        gaps = self._gaps[numbers]
        return numbers[np.argsort(-gaps if order == "widest" else gaps, kind="stable")]

    def read_texts(self, numbers: Numbers) -> list[str]:
        rows = self._texts.read_many(numbers.tolist())
        return [
            "\n".join([join_texts(row), *(a["text"] for a in row["responses"])]) for row in rows
        ]

    def find_part(self, number: int) -> str:
        """The name of the part that a row lies in."""
        return list(self._parts)[self._rows.find_file(number)]

    def build_cards(self, numbers: Numbers) -> list[ListCard]:
        rows = self._rows.read_many(numbers.tolist())
        ids_of: dict[str, list[str]] = defaultdict(list)
        for number, row in zip(numbers.tolist(), rows, strict=True):
            ids_of[self.find_part(number)].append(row["sample_id"])
        scores: dict[Key, dict[str, Any]] = {}
        for part, ids in ids_of.items():
            scores |= self._answers.read_scores(part, ids)
        return [self._build_card(row, scores) for row in rows]

    def _build_card(self, row: Mapping[str, Any], scores: Mapping[Key, Any]) -> ListCard:
        responses = sorted(row["responses"], key=lambda response: response["rank"])
        last = responses[-1]["rank"] if responses else 0
        tiles = [
            self._showing.build_tile(
                row, response["text"], name_role(response["rank"], last),
                str(response["rank"] + 1), response["reward"],
                *get_details(scores.get((row["sample_id"], response["index"]))),
            )
            for response in responses
        ]  # fmt: skip
        return ListCard(self._showing.build_question(row, "train"), row["reward_gap"], tiles)

    def find_ranks(self, sample_id: str) -> tuple[str | None, dict[int, int]]:
        """The part that has a sample's list, and index -> rank in it; (None, {}) without one."""
        for number in self.index.find(sample_id):
            row = self._rows.read(number)
            if row["sample_id"] == sample_id:
                ranks = {each["index"]: each["rank"] for each in row["responses"]}
                return self.find_part(number), ranks
        return None, {}


def name_role(rank: int, last: int) -> str:
    """How an answer of this rank is drawn."""
    return "best" if rank == 0 else "worst" if rank == last else "middle"


def get_details(score: Mapping[str, Any] | None) -> tuple[list[tuple[str, float | None]], str]:
    """Rewards by name, and why the answer could not be read."""
    return ([], "") if score is None else (list(score["rewards"] or ()), score["error"] or "")
