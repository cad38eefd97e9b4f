"""How rows are named where one finding speaks of many."""

from __future__ import annotations

from collections.abc import Sequence

MAX_NAMED = 3


def name_row(row: str) -> str:
    """A sample's `row` as people say it.

    >>> name_row("data/train.jsonl:7")
    'data/train.jsonl row 7'
    """
    file, colon, number = row.rpartition(":")
    return f"{file} row {number}" if colon and number.isdigit() else row


def describe_rows(found: Sequence[tuple[str, str]], advice: str) -> str:
    """One sentence for rows that share a fault: (row, what is wrong with it), then what to do.

    The first is said whole, a few more are named, all are counted.
    """
    (first, what), *others = found
    numbers = [name_row(row).rpartition("row ")[2] for row, _ in others[: MAX_NAMED - 1]]
    more = ""
    if others:
        rest = ", ..." if len(others) > len(numbers) else ""
        more = f" ({len(others):,} more like it: {', '.join(numbers)}{rest})"
    return f"{name_row(first)} {what}{more}; {advice}"
