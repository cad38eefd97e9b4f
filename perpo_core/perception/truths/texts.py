"""The true text of a row."""

from __future__ import annotations

from perpo_core.perception.truths.row import MissingKey, Raw, RowError, Size, get_text, show_value
from perpo_core.perception.visible import has_visible

# What other formats call the key that holds it, and a count.
OTHER_NAMES = (
    "label", "text", "ground_truth", "gt", "solution", "target", "truth", "transcription",
    "output", "response", "count",
)  # fmt: skip


def parse_text(raw: Raw, where: str, size: Size) -> str:
    """The true text; exactly "" is a blank page. Raises RowError."""
    del size
    if raw.get("answer") is None:
        said = f'{where}: answer is missing; give the text, "" for a blank page'
        raise MissingKey("missing answer", said, "answer")
    answer = get_text(raw, "answer", where, "missing answer")
    if answer and not has_visible(answer):
        raise RowError(
            "invisible answer",
            f"{where}: the answer has no visible character: {show_value(answer)}; "
            'write "" for a blank page',
        )
    return answer
