"""What is held of every row of some files: codes of names and numbers, in arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from perpo_core.store.id_index import IdIndex, read_ids
from perpo_core.store.row_reader import read_columns

PREFIX_BYTES = 24  # of an id; 96 bits tell a billion apart
Mask = NDArray[np.bool_]
Numbers = NDArray[np.int64]
"""Of rows, from 0, over all files of a tab."""


@dataclass(frozen=True)
class Codes:
    """A column of few different names: [rows] a small number each, -1 for none."""

    names: list[str]
    of_row: NDArray[np.int32]

    def match(self, name: str) -> Mask:
        """[rows] whether a row has the name."""
        if name not in self.names:
            return np.zeros(len(self.of_row), np.bool_)
        return self.of_row == self.names.index(name)

    def count(self) -> list[tuple[str, int]]:
        """How many rows have each name, ascending by name."""
        counts = np.bincount(self.of_row[self.of_row >= 0], minlength=len(self.names))
        return sorted((n, int(c)) for n, c in zip(self.names, counts, strict=True) if c)

    def take(self, rows: Numbers) -> Codes:
        """[rows] of other rows, where -1 has no name."""
        found = np.full(len(rows), -1, np.int32)
        found[rows >= 0] = self.of_row[rows[rows >= 0]]
        return Codes(self.names, found)


def read_codes(paths: Sequence[Path], column: str) -> Codes:
    """A column of names, file by file."""
    code_of: dict[str, int] = {}
    parts = [np.zeros(0, np.int32)]
    for path in paths:
        for chunk in read_columns(path, [column])[column].chunks:
            encoded = pc.fill_null(chunk, "").dictionary_encode()
            names = encoded.dictionary.to_pylist()
            codes = [code_of.setdefault(name, len(code_of)) for name in names]
            parts.append(
                np.array(codes, np.int32)[encoded.indices.to_numpy()] if codes else parts[0]
            )
    return Codes(list(code_of), np.concatenate(parts))


def read_floats(paths: Sequence[Path], column: str) -> NDArray[np.float32]:
    """A column of numbers; NaN for none."""
    found = (read_columns(path, [column])[column] for path in paths)
    parts = (part.cast(pa.float32()).to_numpy(zero_copy_only=False) for part in found)
    return np.concatenate([np.zeros(0, np.float32), *parts])


def read_are_null(paths: Sequence[Path], column: str) -> Mask:
    """[rows] whether a column says nothing."""
    parts = (read_columns(path, [column])[column].is_null().to_numpy() for path in paths)
    return np.concatenate([np.zeros(0, np.bool_), *parts])


def read_prefixes(paths: Sequence[Path], column: str) -> list[NDArray[np.bytes_]]:
    """A column of ids, a part each, by their first PREFIX_BYTES."""
    return read_ids(paths, column, PREFIX_BYTES)


def build_index(ids: Sequence[NDArray[np.bytes_]]) -> IdIndex:
    """Rows by such ids."""
    return IdIndex(ids, PREFIX_BYTES)


def within(values: NDArray[np.float32], least: float | None, most: float | None) -> Mask:
    """[rows] whether a number lies between two, ends included; one that is NaN does not.

    A reward that is shown as 0.3 and asked for as 0.3 counts, though float32 has neither.
    """
    mask = np.ones(len(values), np.bool_)
    if least is not None:
        mask &= values >= least - 1e-6
    if most is not None:
        mask &= values <= most + 1e-6
    return mask
