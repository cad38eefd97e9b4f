"""Tables as rows: Parquet files, folders that `datasets` has saved, data sets of the hub's cache.

source.columns says which column a key of a row comes from. Columns that are named as a key need no
line; what is left is checked as the further keys of a row are, so that a column of choices or of
objects is refused, not overlooked, until it is mapped or named in source.ignore.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError, is_finite_number, show_value
from perpo_core.stages.collect.sources.formats.embedded import name_image
from perpo_core.stages.collect.sources.formats.line import Line, build_line
from perpo_core.stages.collect.sources.formats.passing import pass_on
from perpo_core.stages.collect.sources.formats.records import Record, iterate_records
from perpo_core.stages.collect.sources.formats.splits import find_split
from perpo_core.stages.collect.sources.jsonl_keys import KNOWN
from schemas.sources import ParquetSource

BOXES = ("box", "box_norm", "boxes", "boxes_norm")
SLOT = re.compile(r"\{([^{}]+)\}")


def iterate_lines(file: Path, config: ParquetSource) -> Iterator[Line]:
    """A row for each of the table, in the order of the files' names."""
    for number, record in enumerate(iterate_records(file)):
        if number == 0 and isinstance(record.value, dict):
            _require_columns(record.value, file, config)
        yield build_line(record.label, partial(_build_row, record, file, config))


def _require_columns(first: dict[str, Any], file: Path, config: ParquetSource) -> None:
    """Columns are the same in all rows; a slip of the pen would otherwise be found in each."""
    for key in config.columns.keys() - KNOWN:
        raise ValueError(
            f"{file}: source.columns gives {show_value(key)} a column, and no row has such a key; "
            f"it is one of {', '.join(sorted(KNOWN))}"
        )
    named = [*config.columns.values(), *SLOT.findall(config.prompt or "")]
    for path in named:
        column = path.split(".")[0]
        if column not in first:
            raise ValueError(
                f"{file}: source names the column {show_value(column)}, and the table has "
                f"{', '.join(first)}"
            )


def _build_row(record: Record, file: Path, config: ParquetSource) -> dict[str, Any]:
    value, folder = record.get(), config.images or file.parent
    mapped = {key: _dig(value, path) for key, path in config.columns.items()}
    own = {"image", "images"} - mapped.keys()
    found = {key: value[key] for key in own if value.get(key) is not None} | mapped
    for key in ("image", "images"):
        if found.get(key) is not None:
            found |= _name_images(found.pop(key), folder)
    prompt = config.prompt and _fill(config.prompt, value)
    row = {
        "task": config.task if value.get("task") is None else None,
        "licence": config.licence or None,
        **({"prompt": prompt} if prompt else {}),
        **{key: _convert(key, said, config) for key, said in found.items()},
    }
    row["split"] = find_split(found.get("split", value.get("split")), record.file, config)
    used = [path.split(".")[0] for path in config.columns.values()]
    used += [slot.split(".")[0] for slot in SLOT.findall(config.prompt or "")]
    return pass_on(value, row, ["image", "images", "split", *used], config.ignore)


def _name_images(given: Any, folder: Path) -> dict[str, Any]:
    names = [name_image(each, folder) for each in (given if isinstance(given, list) else [given])]
    return {"image": names[0]} if len(names) == 1 else {"images": names}


def _dig(value: Any, path: str) -> Any:
    """What stands at a dotted path: names of nested columns, numbers of a list's entries."""
    for part in path.split("."):
        if value is None:
            return None
        if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            raise RowError("missing column", f"column {path}: there is no {show_value(part)} in it")
    return value


def _fill(prompt: str, value: dict[str, Any]) -> str:
    def show(slot: re.Match[str]) -> str:
        found = _dig(value, slot[1])
        if not isinstance(found, str | int | float):
            raise RowError("empty prompt", f"column {slot[1]} {show_value(found)} is no text")
        return str(found)

    return SLOT.sub(show, prompt)


def _convert(key: str, said: Any, config: ParquetSource) -> Any:
    if key not in BOXES or config.boxes == "xyxy" or not isinstance(said, list):
        return said
    return [_turn(box) for box in said] if said and isinstance(said[0], list) else _turn(said)


def _turn(box: Any) -> Any:
    """x, y, width, height as two corners; what is no box is left for the row to refuse."""
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_finite_number, box)):
        return box
    x, y, width, height = box
    return [x, y, round(x + width, 6), round(y + height, 6)]
