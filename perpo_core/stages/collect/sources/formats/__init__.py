"""Formats that rows come in: a new one is one module with `iterate_lines`, and one line here.

Whatever a file holds, it is read as JSON Lines rows (docs/data.md): a format turns its records into
such rows, one by one, and all that is checked, told apart and remembered of rows is done once, for
all formats, by the modules beside this folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from perpo_core.stages.collect.sources.formats import (
    coco,
    folder,
    jsonl,
    llava,
    messages,
    parquet,
    perpo_json,
    refcoco,
)
from perpo_core.stages.collect.sources.formats.line import Line

FORMATS: dict[str, Callable[[Path, Any], Iterator[Line]]] = {
    "jsonl": jsonl.iterate_lines,
    "coco": coco.iterate_lines,
    "refcoco": refcoco.iterate_lines,
    "llava": llava.iterate_lines,
    "messages": messages.iterate_lines,
    "parquet": parquet.iterate_lines,
    "folder": folder.iterate_lines,
    "perpo-json": perpo_json.iterate_lines,
}
"""source.kind -> (file, the source's section) -> its rows in a fixed order, streamed."""
