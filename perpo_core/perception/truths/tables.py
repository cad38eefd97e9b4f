"""The true table of a row, as it is written."""

from __future__ import annotations

from perpo_core.perception.truths.row import MissingKey, Raw, RowError, Size, get_text, show_value


def parse_table_text(raw: Raw, where: str, size: Size) -> str:
    """`answer`, with exactly one table of HTML or Markdown that has a cell. Raises RowError."""
    from perpo_core.perception.tables import parse_table  # imports numpy

    del size
    if raw.get("answer") is None:
        said = f"{where}: answer is missing; give the table as HTML or Markdown"
        raise MissingKey("missing answer", said, "answer")
    answer = get_text(raw, "answer", where, "missing answer")
    table, problem = parse_table(answer, str)
    if table is None:
        said = f"{where}: {problem}: {show_value(answer)}; give one table as HTML or Markdown"
        raise RowError("bad table", said)
    if not any(label.startswith("td ") for label in table.labels):
        raise RowError("bad table", f"{where}: the table {show_value(answer)} has no cell")
    return answer
