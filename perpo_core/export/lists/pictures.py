"""The images of lists: as bytes for formats that hold them, as files for those that name them.

    images/<first two digits>/<sha256>.png

A file is written once, whoever asks for it. Folders of a thousand files at most keep a repository
of a million images within what the Hub allows (10,000 in a folder).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from perpo_core.store.packs import Images
from perpo_core.vision.stored import find_stored_format, write_data_url

FOLDER = "images"
KEPT = 8  # images of one list and the next


class Pictures:
    """The images of some packs, by their hash, on their way into a folder."""

    def __init__(self, images: Images, folder: Path) -> None:
        self._folder = folder
        self.read = lru_cache(KEPT)(images.read)
        """The encoded bytes; raises KeyError for an image that is in none of the packs."""
        self._find_format = lru_cache(KEPT)(lambda name: find_stored_format(self.read(name)))

    def place(self, image_hash: str) -> str:
        """Its file's path relative to the folder; the file is there."""
        name = f"{FOLDER}/{image_hash[:2]}/{image_hash}.{self._find_format(image_hash)}"
        path = self._folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(image_hash))
        return name

    def embed(self, image_hashes: Sequence[str]) -> list[dict[str, Any]]:
        """As schemas.arrow.IMAGE."""
        return [{"bytes": self.read(name), "path": None} for name in image_hashes]

    def write_url(self, image_hash: str) -> str:
        """The image itself as a data URL."""
        return write_data_url(self.read(image_hash))
