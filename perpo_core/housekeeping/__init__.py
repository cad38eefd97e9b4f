"""What of a store may go, and its removal.

Goes: artifacts that nothing kept rests on, attempts that no pointer names, workspaces that nobody
touched for a day, pages and training curves of runs that are not kept. Run records, report.json
and the promoted pointer's history stay: they are small, and `perpo trends` reads them.

Removal renames into <store>/.trash first, a whole artifact in one step, and deletes there: a
killed removal leaves either all of an artifact or nothing that a reader finds. The next one empties
the trash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from perpo_core.housekeeping.folder import find_folder_garbage, remove_folder_garbage
from perpo_core.housekeeping.found import Garbage
from perpo_core.store.store import Store
from schemas.run import RunRecord

if TYPE_CHECKING:
    from perpo_core.store.bucket.store import RemoteStore

__all__ = ["Garbage", "find_garbage", "remove_garbage"]


def find_garbage(
    store: Store, records: Sequence[RunRecord], runs: Sequence[RunRecord], now_s: float
) -> list[Garbage]:
    """Everything that may go when of all `records` these `runs` are kept (choose_runs)."""
    if store.is_remote:
        from perpo_core.housekeeping.bucket import find_remote_garbage  # s3fs is slow to import

        return find_remote_garbage(cast("RemoteStore", store), records, runs, now_s)
    return find_folder_garbage(store, records, runs, now_s)


def remove_garbage(store: Store, garbage: Sequence[Garbage]) -> None:
    """Take all of it out of readers' sight, each thing at once, and delete it."""
    if store.is_remote:
        from perpo_core.housekeeping.bucket import remove_remote_garbage

        return remove_remote_garbage(cast("RemoteStore", store), garbage)
    return remove_folder_garbage(store, garbage)
