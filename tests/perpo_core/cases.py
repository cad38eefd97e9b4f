"""Small JSON Lines sources for tests: real images, real files."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from schemas.sources import JsonlSource

WIDTH, HEIGHT = 40, 30


def encode_noise(seed: int, width: int = WIDTH, height: int = HEIGHT) -> bytes:
    """A PNG of noise, another one for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def make_row(**changes: Any) -> dict[str, Any]:
    """A good grounding row about images/0.png; a change to None removes the key."""
    row = {
        "id": "g0", "task": "grounding", "image": "images/0.png", "width": WIDTH, "height": HEIGHT,
        "prompt": "Where is the cat?", "box": [4, 3, 20, 15], "box_format": "xyxy_pixels",
        "source": "noise", "licence": "CC0",
    }  # fmt: skip
    return {key: value for key, value in (row | changes).items() if value is not None}


def write_source(
    folder: Path, rows: Sequence[Any], num_images: int = 1, **settings: Any
) -> JsonlSource:
    """A source: rows (objects or raw lines) in cases.jsonl beside images/0.png, 1.png, ..."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(num_images):
        (folder / "images" / f"{number}.png").write_bytes(encode_noise(number))
    lines = [json.dumps(row) if isinstance(row, dict) else row for row in rows]
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    (folder / "cases.jsonl").write_bytes(b"\n".join(raw))
    return JsonlSource(files=[folder / "cases.jsonl"], **settings)
