"""Which images a row names, and where each lies: a file of the row's folder, or the row itself.

`image` names one, `images` several; parts of `messages` may name theirs. A name is a path inside
the folder of the row's file, or a data URL, which holds the image.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from pathlib import Path
from typing import Any

from perpo_core.perception.truths.row import RowError, get_text, show_value
from perpo_core.perception.visible import has_visible
from perpo_core.stages.collect.sources.jsonl_prompt import list_image_parts

MISSING = "image missing"
OUTSIDE = "image outside the folder"
DATA_URL = "data:"
# What stands for the format ends the name of a file in `perpo import`: no slash is in it.
HEAD = re.compile(r"data:image/[\w.+-]+(?:;[^;]*)*;base64", re.ASCII)
MAX_IMAGES = 64


def list_names(raw: dict[str, Any], where: str) -> list[str]:
    """The images in the order of their places in the question. Raises RowError."""
    ways = {
        "image": [raw["image"]] if raw.get("image") is not None else None,
        "images": raw.get("images") or None,
        "messages": [name for part in list_image_parts(raw) if (name := _get_name(part))] or None,
    }
    given = [way for way, names in ways.items() if names is not None]
    if len(given) > 1:
        raise RowError(
            "two images", f"{where}: {' and '.join(given)} both name images; keep one of the two"
        )
    if not given:
        return [get_text(raw, "image", where, MISSING)]
    names = ways[given[0]]
    if not isinstance(names, list) or len(names) > MAX_IMAGES:
        raise RowError(
            MISSING, f"{where}: images {show_value(names)} is no list of 1 to {MAX_IMAGES} paths"
        )
    key = "image" if len(names) == 1 else "images"
    return [_check_name({key: name}, key, where) for name in names]


def _get_name(part: dict[str, Any]) -> Any:
    """What a part of a message says of its image; None where `images` says it."""
    name = part.get(part["type"])
    return name.get("url") if isinstance(name, dict) else name


def _check_name(raw: dict[str, Any], key: str, where: str) -> str:
    name = get_text(raw, key, where, MISSING)
    if not has_visible(name):
        raise RowError(MISSING, f"{where}: image {show_value(name)} is empty; give a path")
    return name


def is_data_url(name: str) -> bool:
    """Whether the name is the image itself."""
    return name.startswith(DATA_URL)


def decode_data_url(name: str, where: str) -> bytes:
    """The image that a data URL holds. Raises RowError."""
    head, comma, text = name.partition(",")
    try:
        if not (comma and HEAD.fullmatch(head)):
            raise ValueError("it does not begin with data:image/...;base64,")
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise RowError(
            MISSING, f"{where}: image {show_value(name)} is a data URL that holds none ({error})"
        ) from error


class ImageFolder:
    """The folder of a file, in which the images of its rows lie; links are followed.

    Of each folder below it is asked once where it really is: rows by the hundred thousand share it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self._folder, self._home = str(folder), os.path.realpath(folder)
        self._real_of: dict[str, str] = {}

    def find(self, name: str, where: str) -> str:
        """Where the image lies. Raises RowError for one outside of the folder."""
        if "://" in name[:16]:
            raise RowError(
                MISSING,
                f"{where}: image {show_value(name)} is an address, and nothing is fetched; put the "
                "file into the folder",
            )
        if "\0" in name or os.path.isabs(name):
            raise RowError(
                OUTSIDE,
                f"{where}: image {show_value(name)} is not a path relative to the file's folder",
            )
        path = self._follow(os.path.join(self._folder, name))
        if path != self._home and not path.startswith(self._home.rstrip("/") + "/"):
            raise RowError(
                OUTSIDE,
                f"{where}: image {show_value(name)} leads out of {self._home}; put the image into "
                "that folder",
            )
        return path

    def _follow(self, path: str) -> str:
        """os.path.realpath, which unlike Path.resolve also answers for a loop of links."""
        parent, name = os.path.split(path)
        if name in ("", ".", "..") or os.path.islink(path):
            return os.path.realpath(path)
        real = self._real_of.get(parent)
        if real is None:
            real = self._real_of[parent] = os.path.realpath(parent)
        return os.path.join(real, name)
