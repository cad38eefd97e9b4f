"""Rows of Parquet files at random: a row is found by its number, and a few row groups stay decoded.

Nothing but the files' footers is held besides, however many rows there are. A reader may be handed
to a process that is forked from this one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

KEPT_GROUPS = 8


def read_columns(path: Path, columns: Sequence[str], encoded: Sequence[str] = ()) -> pa.Table:
    """Some columns of a file, for who reads files by the hundred: a tenth of read_table's cost.

    Those that are `encoded` come as dictionaries, one for the whole file: ids that repeat are read
    once, as they lie there.
    """
    with pq.ParquetFile(path, pre_buffer=False, read_dictionary=list(encoded)) as file:
        table = file.read(columns=list(columns), use_threads=False)
    return table.unify_dictionaries() if encoded else table


class RowReader:
    """The rows of several files, one after another, of some columns."""

    def __init__(
        self, paths: Sequence[Path], columns: Sequence[str], kept_groups: int = KEPT_GROUPS
    ) -> None:
        self._paths, self._columns = list(paths), list(columns)
        self._footers = [pq.read_metadata(path) for path in paths]
        self._groups = [
            (number, group)
            for number, footer in enumerate(self._footers)
            for group in range(footer.num_row_groups)
        ]
        sizes = [self._footers[n].row_group(group).num_rows for n, group in self._groups]
        self._starts = [0, *accumulate(sizes)]
        self._read_group = lru_cache(kept_groups)(self._decode_group)

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def spans(self) -> list[range]:
        """The numbers of each file's rows."""
        ends = list(accumulate(footer.num_rows for footer in self._footers))
        return [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]

    def find_file(self, number: int) -> int:
        """Which file a row lies in, from 0; raises IndexError where there is no such row."""
        return self._groups[self._find(number)[0]][0]

    def read(self, number: int) -> dict[str, Any]:
        """The row of that number, from 0; raises IndexError where there is none."""
        group, row = self._find(number)
        found: dict[str, Any] = self._read_group(group).slice(row, 1).to_pylist()[0]
        return found

    def read_many(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of these numbers, in their order; each row group is decoded once."""
        wanted, places = np.unique(np.asarray(numbers, np.int64), return_inverse=True)
        for number in wanted[[0, -1]].tolist() if len(wanted) else []:
            self._find(number)  # raises for what is none
        groups = np.searchsorted(self._starts, wanted, "right") - 1
        found: list[dict[str, Any]] = []
        for group in np.unique(groups).tolist():
            found += self._take(group, wanted[groups == group] - self._starts[group])
        return [found[place] for place in places.tolist()]

    def _find(self, number: int) -> tuple[int, int]:
        """Row group and row in it."""
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} rows, and none of number {number}")
        group = bisect_right(self._starts, number) - 1
        return group, number - self._starts[group]

    def _take(self, group: int, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._read_group(group).take(rows).to_pylist()
        return found

    def iterate_groups(self) -> Iterator[tuple[int, pa.Table]]:
        """The number of a row group's first row, and its rows; none is kept."""
        for start, group in zip(self._starts, range(len(self._groups)), strict=False):
            yield start, self._decode_group(group)

    def iterate_column(self, name: str) -> Iterator[Any]:
        """All values of a column, read for that alone, file by file.

        Also of a field in it, by its path in the file, such as responses.list.element.logp.
        """
        for path in self._paths:
            with pq.ParquetFile(path) as file:
                column = file.read(columns=[name])[name.partition(".")[0]]
            yield from column.to_pylist()

    def _decode_group(self, group: int) -> pa.Table:
        number, inner = self._groups[group]
        file = pq.ParquetFile(
            self._paths[number], metadata=self._footers[number], memory_map=True, pre_buffer=False
        )
        with file:  # a descriptor for each of thousands of files would be too many
            return file.read_row_group(inner, columns=self._columns, use_threads=False)
