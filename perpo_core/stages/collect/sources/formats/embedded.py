"""The images of a record: names relative to the folder, or bytes, which become data URLs."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError, show_value

# How files begin; what is in them is for Pillow to say.
SIGNATURES = {
    b"\x89PNG": "png",
    b"\xff\xd8": "jpeg",
    b"RIFF": "webp",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II": "tiff",
    b"MM": "tiff",
}


def name_image(value: Any, folder: Path) -> str:
    """What a row says of an image that is a path, bytes, or datasets' {bytes, path}.

    A path that leads into the folder of images is made relative to it. Raises RowError.
    """
    if isinstance(value, dict) and value.keys() <= {"bytes", "path"}:
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return build_data_url(value)
    if not isinstance(value, str):
        raise RowError("image missing", f"image {show_value(value)} is neither a path nor a file")
    path = value.removeprefix("file://")
    return os.path.relpath(path, folder) if os.path.isabs(path) and _is_in(path, folder) else path


def build_data_url(data: bytes) -> str:
    """The file of an image as text."""
    kinds = [kind for signature, kind in SIGNATURES.items() if data.startswith(signature)]
    text = base64.b64encode(data).decode("ascii")
    return f"data:image/{kinds[0] if kinds else 'unknown'};base64,{text}"


def holds_bytes(value: Any) -> bool:
    """Whether a value has bytes at any depth, which JSON cannot say."""
    if isinstance(value, dict):
        return any(map(holds_bytes, value.values()))
    if isinstance(value, list):
        return any(map(holds_bytes, value))
    return isinstance(value, bytes)


def _is_in(path: str, folder: Path) -> bool:
    return os.path.commonpath([os.path.normpath(path), folder]) == str(folder)
