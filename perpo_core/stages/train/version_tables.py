"""Degraded versions of lists' best answers, as they lie in files (schemas.arrow.DEGRADED).

A list's best answer is the first of its answers. It is the version of degree 0 itself, in its place
among the answers, unless the table has one: then its tokens are not what the tokenizer makes of the
text, and a degree that could be told by that would not be told by what was said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.stages.train.packing import Branch, PackableList
from perpo_core.store.atomic import temporary_beside
from perpo_core.store.row_reader import RowReader, read_columns
from schemas.arrow import DEGRADED

COLUMNS = ["versions"]


class VersionTable:
    """The versions of all lists; a list's are read when it is asked for."""

    def __init__(self, paths: Sequence[Path], list_ids: Iterable[str]) -> None:
        """Raises ValueError if the table is of other lists."""
        self._rows = RowReader(paths, COLUMNS)
        columns = (read_columns(path, ["sample_id"])["sample_id"] for path in paths)
        if [each for column in columns for each in column.to_pylist()] != list(list_ids):
            raise ValueError(f"{paths[0].parent} holds other lists than are trained on; remove it")

    def add_to(self, packable: PackableList, index: int) -> PackableList:
        """The list of that number with its versions, if it has any."""
        found = self._rows.read(index)["versions"]
        return add_versions(
            packable, [Branch(each["token_ids"], degree=each["degree"]) for each in found]
        )


def add_versions(packable: PackableList, versions: Sequence[Branch]) -> PackableList:
    """The list with further branches; its first answer is degree 0 where none of them is."""
    branches = list(packable.branches)
    if versions and all(version.degree for version in versions):
        branches[0] = replace(branches[0], degree=0)
    return replace(packable, branches=branches, versions=versions)


def write_versions(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """Rows of schemas.arrow.DEGRADED."""
    with temporary_beside(path) as temporary:
        table = pa.Table.from_pylist(rows, schema=DEGRADED)
        pq.write_table(table, temporary, compression="zstd", row_group_size=512)
