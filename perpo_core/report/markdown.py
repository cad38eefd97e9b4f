"""Markdown of model cards and of the UI: foreign text can break neither a line nor a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# CommonMark reads a backslash before any ASCII punctuation as "this very character". What means
# nothing inside a line (full stops, hyphens) is left as it is, so that names stay readable; the
# colon ends bare web addresses, @ and $ mean something on the Hub.
MEANINGFUL = re.compile(r"([\\`*_\[\]<>|~&$:@])")


def escape(text: str) -> str:
    """The text as one line that reads as it stands, in a sentence or a table's cell."""
    return MEANINGFUL.sub(r"\\\1", " ".join(text.split()))


def build_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already; names from outside go through `escape` first."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def build_fence(language: str, code: str) -> str:
    """A block of code; values from outside stand in it as JSON, which has no line breaks."""
    return f"```{language}\n{code.strip()}\n```"
