"""Room for the store, and the right to read and write it, on a disk or in a bucket."""

from __future__ import annotations

import shutil

from perpo_core.doctor.findings import Finding
from perpo_core.store.place import find_folder, find_obstacle, is_address, parse_place
from schemas.config import RefreshConfig

GB = 1e9


def check_disk(config: RefreshConfig) -> list[Finding]:
    """Room for the store, and the right to write there."""
    if obstacle := find_obstacle(config.store):
        return [Finding("error", f"store: {obstacle}")]
    place = find_folder(config.store)
    while not place.exists():
        place = place.parent
    free_gb = shutil.disk_usage(place).free / GB
    if free_gb < config.min_free_disk_gb:
        return [
            Finding(
                "error",
                f"store: {free_gb:.1f} GB free at {place}, min_free_disk_gb asks for "
                f"{config.min_free_disk_gb:g}; make room or change store",
            )
        ]
    return [Finding("ok", f"store: {free_gb:.1f} GB free at {place}")]


def check_bucket(config: RefreshConfig) -> list[Finding]:
    """Of a store in a bucket: whether it can be read and written, and keeps to conditions."""
    if not is_address(config.store):
        return []
    from perpo_core.store.bucket.objects import RemoteError, open_remote  # only where asked for

    try:
        open_remote(str(parse_place(config.store))).check()
    except RemoteError as error:
        return [Finding("error", str(error))]
    return [Finding("ok", f"store: {config.store} can be read and written")]
