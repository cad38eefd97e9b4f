"""The images of a row by their content: a file is what the source's key says, or not loaded.

Images are hashed as they are read, as the rows are (jsonl_content.py). One that the store has is
not opened again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perpo_core.perception.truths.row import RowError, show_value
from perpo_core.policy.stamps import InputChanged
from perpo_core.stages.collect.sources.jsonl_content import Place, hash_image
from perpo_core.stages.collect.sources.jsonl_names import decode_data_url, is_data_url
from perpo_core.stages.collect.sources.rows import KnownImages
from perpo_core.vision.brightness import Brightness
from perpo_core.vision.images import ImageError, StoredImage


@dataclass(frozen=True)
class LoadedImage:
    """One image file, ready for the store or only looked at, and the sha256 of its bytes."""

    stored: StoredImage
    file_hash: str
    brightness: Brightness | None = None
    """Where the image is only looked at."""


@dataclass(frozen=True)
class Loading:
    """Gets an image by its content: from a file that is what the identity says, or not at all."""

    load_one: Callable[[Path | bytes, str], LoadedImage]
    known: KnownImages

    def load(self, name: str, place: Place) -> LoadedImage:
        """The image that a row calls `name`; raises InputChanged for a file that is another now.

        Raises ImageError for one that cannot be used, RowError for a name that is none.
        """
        if is_data_url(name):
            return self._load_inside(name, place)
        path = _find_known(name, place)
        expected = place.content[1][name] if place.content else None
        if expected is not None and expected in self.known:
            return LoadedImage(self.known[expected], expected)
        try:
            image = self.load_one(path, _say_image(place, name))
        except (ImageError, OSError):
            _require_same(place, path, expected, hash_image(path))
            raise
        _require_same(place, path, expected, image.file_hash)
        return image

    def _load_inside(self, name: str, place: Place) -> LoadedImage:
        """An image that the row itself holds."""
        data = decode_data_url(name, str(place))
        file_hash = hashlib.sha256(data).hexdigest()
        if file_hash in self.known:
            return LoadedImage(self.known[file_hash], file_hash)
        return self.load_one(data, _say_image(place, name))


def _find_known(name: str, place: Place) -> Path:
    """Where an image file of the row lies; raises InputChanged if the identity says otherwise."""
    file, content = place.file, place.content
    try:
        path = Path(place.folder.find(name, str(place)))
    except RowError as error:
        if content and name in content[1]:  # a link that leads elsewhere
            raise InputChanged(place.folder.path / name) from error
        raise
    if content and name not in content[1]:
        raise InputChanged(file)
    return path


def _say_image(place: Place, name: str) -> str:
    return f"{place}: image {show_value(name)}"


def _require_same(place: Place, path: Path, expected: str | None, found: str | None) -> None:
    if place.content and found != expected:
        raise InputChanged(path)
