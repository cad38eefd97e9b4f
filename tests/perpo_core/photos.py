"""Photos in several files each, and JSON Lines sources of questions about them."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from perpo_core.stages.collect.sources.rows import SampleRow, SetAside
from perpo_core.stages.collect.sources.rows_source import iterate_samples
from schemas.sources import JsonlSource
from tests.perpo_core.cases import encode_noise


def open_noise(seed: int, width: int = 24, height: int = 16) -> Image.Image:
    return Image.open(io.BytesIO(encode_noise(seed, width, height)))


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=format, **options)
    return buffer.getvalue()


def encode_twin(seed: int, number: int) -> bytes:
    """File `number` of a photo: the same pixels with other metadata."""
    note = PngInfo()
    note.add_text("comment", f"copy {number}")
    return encode(open_noise(seed), pnginfo=note)


def write_images(folder: Path, contents: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def ask(image: str, prompt: str = "How many?", split: Any = None, **changes: Any) -> Any:
    row = {"task": "counting", "image": image, "prompt": prompt, "answer": 1, "split": split}
    return row | changes


def build_source(folder: Path, *files: Sequence[Any], **options: Any) -> JsonlSource:
    """A source of some files' rows, beside the images in `folder`."""
    paths = []
    for number, rows in enumerate(files):
        paths.append(folder / f"{number}.jsonl")
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        paths[-1].write_text("\n".join(lines))
    return JsonlSource(files=paths, **options)


def read_samples(source: JsonlSource) -> list[SampleRow]:
    return [row for row in iterate_samples(source) if isinstance(row, dict)]


def read_aside(source: JsonlSource) -> list[SetAside]:
    return [row for row in iterate_samples(source) if isinstance(row, SetAside)]


def group_splits(rows: Iterable[SampleRow]) -> dict[str, set[str]]:
    """Photo, from the prompt "N: ...", -> the splits it is in."""
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[row["prompt"][0]["content"][-1]["text"].partition(":")[0]].add(row["split"])
    return dict(found)
