"""Rows of earlier artifacts by an id: which file has them, and the rows as they lie there.

Ids are read first, and alone, so that looking costs little; rows only of the files that are
needed. All rows of an id lie in one file.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perpo_core.store.row_reader import read_columns


@dataclass(frozen=True)
class RowIndex:
    """Where the rows of every id lie."""

    column: str
    file_of: dict[str, Path]

    def take(self, ids: Sequence[str]) -> pa.Table:
        """All rows of the ids, at least one id, in their order; of one id in the file's order."""
        ids_by_file: dict[Path, list[str]] = defaultdict(list)
        for each in ids:
            ids_by_file[self.file_of[each]].append(each)
        tables = [_read_rows(path, self.column, wanted) for path, wanted in ids_by_file.items()]
        return sort_by_ids(pa.concat_tables(tables), self.column, ids)


def sort_by_ids(table: pa.Table, column: str, ids: Sequence[str]) -> pa.Table:
    """The rows in the order of their ids in `ids`; rows of one id keep their order."""
    positions = pc.index_in(table[column].combine_chunks(), value_set=pa.array(ids, pa.string()))
    return table.take(pc.sort_indices(positions)).combine_chunks()


def read_distinct(
    path: Path, columns: list[str], warn: Callable[[str], None]
) -> list[tuple[str, ...]]:
    """The distinct values of some columns, in no order; a file that cannot be read is said."""
    try:
        rows = read_columns(path, columns).group_by(columns).aggregate([])
        return list(zip(*(rows[name].to_pylist() for name in columns), strict=True))
    except (OSError, pa.ArrowException, ValueError) as error:  # such as letters that are none
        warn(f"{path} cannot be read, so nothing is taken from it: {error}")
        return []


def _read_rows(path: Path, column: str, ids: Sequence[str]) -> pa.Table:
    table = pq.read_table(path)
    return table.filter(pc.is_in(table[column], value_set=pa.array(ids, pa.string())))
