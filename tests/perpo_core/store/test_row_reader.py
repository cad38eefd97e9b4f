"""Rows at random: as a table of everything gives them, whatever files and groups they lie in."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpo_core.store.row_reader import RowReader

ROWS = [{"number": number, "text": "x" * number, "other": None} for number in range(40)]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """40 rows in four files, one of them empty, in groups of three."""
    folder = tmp_path_factory.mktemp("parts")
    schema = pa.schema([("number", pa.int64()), ("text", pa.string()), ("other", pa.string())])
    for name, rows in enumerate([ROWS[:11], [], ROWS[11:12], ROWS[12:]]):
        table = pa.Table.from_pylist(rows, schema=schema)
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=3)
    return sorted(folder.iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(numbers=st.lists(st.integers(0, 39)), kept_groups=st.integers(1, 4))
def test_rows_are_those_of_their_numbers(
    parts: list[Path], numbers: list[int], kept_groups: int
) -> None:
    reader = RowReader(parts, ["number", "text"], kept_groups)
    expected = [{"number": n, "text": "x" * n} for n in numbers]
    assert len(reader) == 40
    assert [reader.read(number) for number in numbers] == expected
    assert reader.read_many(numbers) == expected


def test_a_column_is_read_alone(parts: list[Path]) -> None:
    assert list(RowReader(parts, ["text"]).iterate_column("number")) == list(range(40))


def test_a_field_in_a_column_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "nested.parquet"
    pq.write_table(pa.table({"answers": [[{"logp": -1.0, "text": "a"}], []]}), path)
    values = RowReader([path], ["answers"]).iterate_column("answers.list.element.logp")
    assert list(values) == [[{"logp": -1.0}], []]


def test_each_file_spans_its_rows(parts: list[Path]) -> None:
    spans = RowReader(parts, ["number"]).spans
    assert spans == [range(0, 11), range(11, 11), range(11, 12), range(12, 40)]


def test_a_row_lies_in_the_file_that_spans_it(parts: list[Path]) -> None:
    reader = RowReader(parts, ["number"])
    found = [next(n for n, span in enumerate(reader.spans) if row in span) for row in range(40)]
    assert [reader.find_file(row) for row in range(40)] == found


@pytest.mark.parametrize("number", [-1, 40])
def test_there_is_no_row_beyond_the_last(parts: list[Path], number: int) -> None:
    with pytest.raises(IndexError, match="there are 40 rows"):
        RowReader(parts, ["text"]).read(number)
