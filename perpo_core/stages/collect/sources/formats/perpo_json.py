"""The official PerPO code's lists: a question about an image, and its true answer.

The answers of a record and their rewards are left out: a list belongs to the policy that sampled
it, and the one that is to be improved samples its own. `perpo import` says how many they are. What
a record looks like is perpo_core/perception/perpo_json.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from perpo_core.perception.perpo_json import build_row, parse_record
from perpo_core.stages.collect.sources.formats.embedded import name_image
from perpo_core.stages.collect.sources.formats.line import Line, build_line
from perpo_core.stages.collect.sources.formats.passing import pass_on
from perpo_core.stages.collect.sources.formats.records import Record, iterate_records
from perpo_core.stages.collect.sources.formats.splits import find_split
from schemas.sources import PerpoJsonSource

SLOT = "{question}"
USED = ("image_path", "question", "answer", "answers_gen", "iou_scores")


def iterate_lines(file: Path, config: PerpoJsonSource) -> Iterator[Line]:
    """A row for each record, in the order of the file."""
    home = file if file.is_dir() else file.parent
    for record in iterate_records(file):
        line = build_line(record.label, partial(_build_row, record, file, home, config))
        is_row = isinstance(line.content, bytes)
        yield replace(line, num_answers=len(record.get()["answers_gen"])) if is_row else line


def _build_row(record: Record, file: Path, home: Path, config: PerpoJsonSource) -> dict[str, Any]:
    value = record.get()
    row = build_row(parse_record(value), value.get("task") or config.task)
    question = row["prompt"]
    row |= {
        "image": _find_image(row["image"], record, file, home, config),
        "prompt": config.prompt.replace(SLOT, question) if config.prompt else question,
        "split": find_split(value.get("split"), record.file, config),
        "licence": value.get("licence") or config.licence or None,
    }
    return pass_on(value, row, USED, config.ignore)


def _find_image(name: str, record: Record, file: Path, home: Path, config: PerpoJsonSource) -> str:
    """Relative to source.images, or else to the record's own file, also in a folder of them."""
    if config.images or home == file.parent:
        return name_image(name, config.images or home)
    return os.path.relpath((home / record.file).parent / name_image(name, home), file.parent)
