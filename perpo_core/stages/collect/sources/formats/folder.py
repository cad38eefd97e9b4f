"""Images of pages with their text beside them: a.png, and a.txt, a.gt.txt, a.hocr, a.html or a.xml.

Folders below are looked into. A text file that is empty says that the page is blank.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError
from perpo_core.stages.collect.sources.formats.line import Line, build_line
from perpo_core.stages.collect.sources.formats.page_texts import READERS, read_text
from perpo_core.stages.collect.sources.formats.splits import find_split
from schemas.sources import FolderSource

PROMPT = "Read all the text in this image and write it out in reading order."
IMAGES = frozenset({
    ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm", ".jp2",
})  # fmt: skip
GROUND_TRUTH = ".gt"  # a.gt.txt, as Tesseract and kraken call it


def iterate_lines(file: Path, config: FolderSource) -> Iterator[Line]:
    """A row for each image, in the order of their names; texts without one are named too."""
    if not file.is_dir():
        raise ValueError(f"{file}: there is no such folder; correct source.files")
    for folder in (file, *sorted(each for each in file.rglob("*") if each.is_dir())):
        yield from _convert_folder(folder, file, config)


def _convert_folder(folder: Path, top: Path, config: FolderSource) -> Iterator[Line]:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    texts: dict[str, list[str]] = {}
    for name in names:
        if Path(name).suffix.lower() in READERS:
            texts.setdefault(Path(name).stem.removesuffix(GROUND_TRUTH), []).append(name)
    for name in names:
        if Path(name).suffix.lower() in IMAGES:
            found = texts.pop(Path(name).stem, [])
            label = (folder / name).relative_to(top).as_posix()
            yield build_line(label, partial(_build_row, folder / name, found, top, config))
    for left in texts.values():
        for name in left:
            label = (folder / name).relative_to(top).as_posix()
            yield build_line(label, _refuse_text)


def _build_row(image: Path, texts: list[str], top: Path, config: FolderSource) -> dict[str, Any]:
    if len(texts) != 1:
        said = (
            f"{len(texts)} texts beside it ({', '.join(texts)})" if texts else "no text beside it"
        )
        kinds = ", ".join(READERS)
        raise RowError(
            "two truths" if texts else "image without text",
            f"{said}; there is one of {kinds} with the same name",
        )
    name = image.relative_to(top).as_posix()
    return {
        "task": "ocr",
        "image": os.path.relpath(image, config.images or top.parent),
        "prompt": config.prompt or PROMPT,
        "answer": read_text(image.parent / texts[0]),
        "split": find_split(None, name, config),
        "licence": config.licence or None,
    }


def _refuse_text() -> dict[str, Any]:
    raise RowError("text without image", "no image of the same name lies beside it")
