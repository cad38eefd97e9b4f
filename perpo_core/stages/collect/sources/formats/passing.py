"""What a record says beside what was converted: passed on, and checked as the keys of a row are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perpo_core.perception.truths.row import RowError, show_value
from perpo_core.stages.collect.sources.formats.embedded import holds_bytes
from perpo_core.stages.collect.sources.jsonl_keys import KNOWN


def pass_on(
    record: dict[str, Any], row: dict[str, Any], used: Sequence[str], ignored: Sequence[str]
) -> dict[str, Any]:
    """The row with the other keys of its record, but for those that are ignored.

    A key that the row has from elsewhere is said twice: RowError, unless both say the same.
    """
    others = {
        key: value
        for key, value in record.items()
        if key not in used and key not in ignored and value is not None
    }
    said = {key: value for key, value in row.items() if value is not None}
    for key in others.keys() & said.keys() & KNOWN:
        if key != "split" and others[key] != said[key]:
            raise RowError(
                "two truths",
                f"{key} {show_value(others[key])} beside {show_value(said[key])} of the same "
                f"record; keep one, or name {key} in source.ignore",
            )
    for key in others.keys() & KNOWN:
        if holds_bytes(others[key]):
            raise RowError(
                "malformed row", f"{key} {show_value(others[key])} is bytes; store it as a text"
            )
    kept = {key: value for key, value in others.items() if not holds_bytes(value)}
    return {**kept, **said}
