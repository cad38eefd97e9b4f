"""Files of any format as one JSON Lines file, which reads as the same samples.

Images that are embedded become files in a folder beside it, named by their content; others stay
where they are, and are named relative to the new file where they lie in its folder. Nothing is
looked at beyond what the format needs: `perpo doctor` checks images and truths of what was written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perpo_core.configuration.words import write_toml_value
from perpo_core.perception.truths.row import RowError
from perpo_core.stages.collect.sources.formats.line import Line, PassedOver
from perpo_core.stages.collect.sources.jsonl_content import find_folder, iterate_lines
from perpo_core.stages.collect.sources.jsonl_names import decode_data_url, is_data_url
from perpo_core.stages.collect.sources.jsonl_prompt import list_image_parts
from schemas.sources import RowsSource


@dataclass
class Imported:
    """What came of the records."""

    num_rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Of the records that are no rows."""
    firsts: dict[str, str] = field(default_factory=dict)
    """Reason -> the sentence of its first record."""
    images: Path | None = None
    """What source.images has to be, where the images lie outside of the new file's folder."""
    num_images: int = 0
    """Image files that were written."""
    num_answers: int = 0
    """Answers of a policy beside the rows' truths, which were left out."""


def write_rows(source: RowsSource, to: Path) -> Imported:
    """Write the rows of a source. Raises ValueError, and leaves no file, where that fails."""
    if to.exists():
        raise ValueError(f"{to}: it exists; remove it, or name another file")
    to.parent.mkdir(parents=True, exist_ok=True)
    partial = to.with_name(f"{to.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as handle:
            writer = _Writer(source, to)
            for file in source.files:
                for line in iterate_lines(file, source):
                    if row := writer.take(file, line):
                        handle.write(json.dumps(row) + "\n")
        if not writer.done.num_rows:
            raise ValueError(f"{source.files[0]}: no record becomes a row; {_explain(writer.done)}")
        os.replace(partial, to)
    finally:
        partial.unlink(missing_ok=True)
    return writer.done


def _explain(done: Imported) -> str:
    return next(iter(done.firsts.values()), "there is none in it")


class _Writer:
    def __init__(self, source: RowsSource, to: Path) -> None:
        self.done = Imported()
        self._source, self._home = source, Path(os.path.realpath(to.parent))
        self._embedded = to.with_name(f"{to.stem}-images")
        self._written: set[str] = set()

    def take(self, file: Path, line: Line) -> dict[str, Any] | None:
        """The row with its images named as the new file names them; None where there is no row."""
        if isinstance(line.content, RowError):
            self._count(file, line.label, line.content)
            return None
        row: dict[str, Any] = json.loads(line.content)
        folder = Path(os.path.realpath(find_folder(file, self._source).path))
        try:
            self._rename(row, folder, file)
        except RowError as error:
            self._count(file, line.label, error)
            return None
        self.done.num_rows += 1
        self.done.num_answers += line.num_answers
        return row

    def _count(self, file: Path, label: str, error: RowError) -> None:
        sentence = f"{file} {label}: {error}"
        if self._source.on_bad_row == "fail" and not isinstance(error, PassedOver):
            raise ValueError(sentence)
        self.done.reasons[error.reason] += 1
        self.done.firsts.setdefault(error.reason, sentence)

    def _rename(self, row: dict[str, Any], folder: Path, file: Path) -> None:
        if isinstance(row.get("image"), str):
            row["image"] = self._name(row["image"], folder, file)
        if isinstance(row.get("images"), list):
            row["images"] = [self._name(name, folder, file) for name in row["images"]]
        for part in list_image_parts(row):
            said = part.get(part["type"])
            name = said.get("url") if isinstance(said, dict) else said
            if isinstance(name, str):
                part[part["type"]] = self._name(name, folder, file)

    def _name(self, name: Any, folder: Path, file: Path) -> Any:
        if not isinstance(name, str) or "://" in name[:16]:
            return name  # the row is refused for it when it is read
        if is_data_url(name):
            return self._write_image(name, file)
        if folder.is_relative_to(self._home):
            return os.path.relpath(folder / name, self._home)
        if self._written or self.done.images not in (None, folder):
            raise ValueError(
                f"{file}: its images lie in {folder}, others of the new file elsewhere; write the "
                "new file into a folder that holds all of them"
            )
        self.done.images = folder
        return name

    def _write_image(self, url: str, file: Path) -> str:
        if self.done.images is not None:
            raise ValueError(
                f"{file}: an embedded image beside others in {self.done.images}; write the new "
                "file into a folder that holds those"
            )
        data = decode_data_url(url, "image")
        kind = url.partition(";")[0].partition("/")[2]
        path = self._embedded / f"{hashlib.sha256(data).hexdigest()}.{kind}"
        if path.name not in self._written:
            self._embedded.mkdir(exist_ok=True)
            path.write_bytes(data)
            self._written.add(path.name)
            self.done.num_images += 1
        return f"{self._embedded.name}/{path.name}"


def describe_source(done: Imported, to: Path) -> str:
    """The section of a configuration beside the new file."""
    images = f"\nimages = {write_toml_value(done.images)}" if done.images else ""
    return f'[source]\nkind = "jsonl"\nfiles = {write_toml_value([to.name])}{images}'
