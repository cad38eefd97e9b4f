"""Which rows have an id, over files of any length: a sorted array instead of a dictionary.

A dictionary of hexadecimal ids takes some 200 bytes a row; this takes the bytes of the id and four
more, in two arrays that a forked process shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perpo_core.store.row_reader import read_columns

ID_BYTES = 64  # sha256 in hexadecimal digits
Rows = NDArray[np.int64]


class IdIndex:
    """The rows of every id; rows of one id keep their order."""

    def __init__(self, ids: Sequence[NDArray[np.bytes_]], width: int = ID_BYTES) -> None:
        """`ids` [rows, in parts], as encode_ids makes them; ids agree where `width` bytes do."""
        self.width = width
        found = np.concatenate([np.zeros(0, f"S{width}"), *ids])
        self._rows = np.argsort(found, kind="stable").astype(np.int32)
        self._ids = found[self._rows]

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, wanted: str) -> list[int]:
        """The rows of an id, ascending; [] where it has none."""
        # numpy's byte strings end at their last byte that is not 0, so that "a\0" would be "a".
        if "\0" in wanted or (self.width == ID_BYTES and len(wanted.encode()) > ID_BYTES):
            return []
        (key,) = encode_ids([wanted], self.width)
        first, last = np.searchsorted(self._ids, [key]), np.searchsorted(self._ids, [key], "right")
        return [int(row) for row in self._rows[first[0] : last[0]]]

    def find_first(self, ids: NDArray[np.bytes_]) -> Rows:
        """[ids] the first row of each, -1 where there is none."""
        if not len(self):
            return np.full(len(ids), -1, np.int64)
        at = np.searchsorted(self._ids, ids)
        is_there = self._ids[np.minimum(at, len(self) - 1)] == ids
        found = self._rows[np.minimum(at, len(self) - 1)].astype(np.int64)
        return np.where(is_there & (at < len(self)), found, -1)


def read_ids(paths: Sequence[Path], column: str, width: int = ID_BYTES) -> list[NDArray[np.bytes_]]:
    """A column of ids, a part each, as encode_ids has them."""
    return [encode_ids(read_columns(path, [column])[column].to_pylist(), width) for path in paths]


def encode_ids(ids: Iterable[str], width: int = ID_BYTES) -> NDArray[np.bytes_]:
    """[ids] their first `width` bytes."""
    return np.array([each.encode() for each in ids], f"S{width}").reshape(-1)
