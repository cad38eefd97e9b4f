"""Which kind of store a place is."""

from __future__ import annotations

from pathlib import Path

from perpo_core.store.place import Place, parse_place
from perpo_core.store.store import Store


def open_store(place: Place) -> Store:
    """The store of a folder or an address; ValueError for a file or an address of no use."""
    place = parse_place(place)
    if isinstance(place, Path):
        if place.is_file():
            raise ValueError(f"store: {place.absolute()} is a file; name a folder")
        return Store(place)
    from perpo_core.store.bucket.store import RemoteStore  # s3fs is slow to import

    return RemoteStore(place)
