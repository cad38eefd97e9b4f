"""Answers that were scored, in a list or in none, by the part that holds them.

Parts of candidates, scores, lists and what was dropped of one name hold the same prompts, so that
one sample's answers are found without an index over all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perpo_core.store.id_index import IdIndex, encode_ids
from perpo_core.store.row_reader import read_columns
from perpo_core.view.files import Absent, RunFiles
from perpo_core.view.numbers import PREFIX_BYTES, Mask
from schemas.base import StageName

SCORES = ["sample_id", "prompt_id", "index", "reward", "rewards", "error"]
CANDIDATES = ["prompt_id", "index", "text"]
Key = tuple[str, int]
"""sample_id or prompt_id, and index."""


class Answers:
    """The scored answers of a run."""

    def __init__(self, files: RunFiles) -> None:
        self._files = files

    @cached_property
    def _scores(self) -> dict[str, Path] | Absent:
        return self._open("score", SCORES)

    @cached_property
    def _candidates(self) -> dict[str, Path] | Absent:
        return self._open("generate", CANDIDATES)

    def _open(self, stage: StageName, columns: list[str]) -> dict[str, Path] | Absent:
        try:
            return self._files.open(stage, "part-", columns)
        except Absent as absent:
            return absent

    @property
    def notes(self) -> list[str]:
        """Why rewards by name and errors are not there; [] where they are."""
        if isinstance(self._scores, Absent):
            return [f"Rewards by name and what could not be read are not shown. {self._scores}"]
        return []

    def read_scores(self, part: str, sample_ids: Iterable[str]) -> dict[Key, dict[str, Any]]:
        """(sample_id, index) -> the score, of some samples of a part."""
        rows = _read(self._scores, part, SCORES, "sample_id", sample_ids)
        return {(row["sample_id"], row["index"]): row for row in rows}

    def read_texts(self, part: str, prompt_ids: Iterable[str]) -> dict[Key, str]:
        """(prompt_id, index) -> the answer, of some prompts of a part."""
        rows = _read(self._candidates, part, CANDIDATES, "prompt_id", prompt_ids)
        return {(row["prompt_id"], row["index"]): row["text"] for row in rows}

    def find_unreadable(self, samples: IdIndex) -> Mask:
        """[samples of the index] whether one of a sample's answers could not be read."""
        mask = np.zeros(len(samples), np.bool_)
        for path in () if isinstance(self._scores, Absent) else self._scores.values():
            table = read_columns(path, ["sample_id", "error"])
            ids = table.filter(pc.is_valid(table["error"]))["sample_id"].unique().to_pylist()
            found = samples.find_first(encode_ids(ids, PREFIX_BYTES))
            mask[found[found >= 0]] = True
        return mask


def _read(
    parts: dict[str, Path] | Absent,
    part: str,
    columns: list[str],
    column: str,
    ids: Iterable[str],
) -> list[dict[str, Any]]:
    if isinstance(parts, Absent) or part not in parts:
        return []
    table = read_columns(parts[part], columns)
    wanted = pc.is_in(table[column], value_set=pa.array(list(ids), pa.string()))
    rows: list[dict[str, Any]] = table.filter(wanted).to_pylist()
    return rows
