"""What is known of each token of the lists' answers, such as its log-probability under a reference.

Read a list at a time: of all lists at once it would take as much memory as the answers themselves.
Axes of a row: G answers, T tokens of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.store.atomic import temporary_beside
from perpo_core.store.row_reader import RowReader
from schemas.arrow import TOKEN_VALUES

Row = Sequence[Sequence[float]]


class TokenTable:
    """The rows of a table whose parts are those of the lists, by the lists' numbers."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self._rows = RowReader(paths, TOKEN_VALUES.names)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        row: Row = self._rows.read(index)["values"]
        return row


def write_token_part(path: Path, sample_ids: Sequence[str], rows: Sequence[Row]) -> None:
    """A row of schemas.arrow.TOKEN_VALUES a list."""
    with temporary_beside(path) as temporary:
        table = pa.table({"sample_id": sample_ids, "values": rows}, schema=TOKEN_VALUES)
        pq.write_table(table, temporary)
