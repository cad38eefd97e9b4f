"""JSON Lines: one object a line, as docs/data.md says; the format that all others become."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from perpo_core.stages.collect.sources.formats.line import Line
from schemas.sources import JsonlSource


def iterate_lines(file: Path, config: JsonlSource) -> Iterator[Line]:
    """Every line that is not blank."""
    del config
    if not file.is_file():
        raise ValueError(f"{file}: there is no such file; correct source.files")
    with file.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")  # Windows editors put it there
            if line.strip():
                yield Line(f"row {number}", line)
