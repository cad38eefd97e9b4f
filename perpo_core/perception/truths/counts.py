"""The true count of a row."""

from __future__ import annotations

import re

from perpo_core.perception.truths.row import MissingKey, Raw, RowError, Size, show_value

MAX_COUNT = 1_000_000_000


def parse_count(raw: Raw, where: str, size: Size) -> int:
    """The true count; 0 where nothing is there. Raises RowError."""
    del size
    answer = raw.get("answer")
    if answer is None:
        said = f"{where}: answer is missing; give a whole number"
        raise MissingKey("missing answer", said, "answer")
    if isinstance(answer, str) and re.fullmatch(r"\s*\d{1,10}\s*", answer, re.ASCII):
        answer = int(answer)
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer <= MAX_COUNT:
        raise RowError(
            "bad count",
            f"{where}: answer {show_value(answer)} is not a whole number from 0 to {MAX_COUNT}",
        )
    return answer
