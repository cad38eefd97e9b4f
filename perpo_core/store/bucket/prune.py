"""What a bucket no longer has leaves this machine's working copy too, by whoever uses it.

A clean-up of the bucket runs on one machine; the copies of all others would only grow. What anybody
touched within a day stays, and what somebody makes right now. A run keeps what a restart of an
interrupted training needs, which is in no bucket; `perpo gc --delete` takes that after a day too.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from perpo_core.store.bucket.objects import Remote
from perpo_core.store.file_lock import hold_file
from perpo_core.store.store import CURVES, KEY, KINDS, LOCK_FILE, PROFILES, REPORTS, YOUNG_S
from perpo_core.store.workspace import SCRATCH

PAGE = "report.html"


def prune_copy(remote: Remote, root: Path, now_s: float, unfinished: bool = False) -> int:
    """Remove it; how many artifacts, folders of curves and pages went.

    `unfinished`: also what a restart of an interrupted training would need.
    """
    places: dict[str, list[Path]] = {
        **{kind: [p for p in _list(root / kind, "*") if KEY.fullmatch(p.name)] for kind in KINDS},
        CURVES: _list(root / CURVES, "*"),
        PROFILES: _list(root / PROFILES, "*"),
    }
    old = {place: [p for p in paths if _is_old(p, now_s)] for place, paths in places.items()}
    asked = [place for place, paths in old.items() if paths]
    known = dict(zip(asked, remote.map(lambda p: remote.list_folders(f"{p}/"), asked), strict=True))
    num = 0
    for place in asked:
        for folder in old[place]:
            if folder.name not in known[place] and (unfinished or not _is_unfinished(folder)):
                num += _remove_folder(folder, now_s)
    return num + _prune_pages(remote, root, now_s)


def _prune_pages(remote: Remote, root: Path, now_s: float) -> int:
    """Reports, whose folder keeps its report.json in the bucket too."""
    pages = [page for page in _list(root / REPORTS, f"*/{PAGE}") if _is_old(page, now_s)]
    known: Collection[str] = remote.list_objects(f"{REPORTS}/") if pages else ()
    gone = [page for page in pages if page.relative_to(root).as_posix() not in known]
    for page in gone:
        page.unlink(missing_ok=True)
    return len(gone)


def _list(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))


def _is_old(path: Path, now_s: float) -> bool:
    """Whether nobody touched it for a day; a lock in it does not count, since we take it too."""
    try:
        files = [p for p in (path, *path.rglob("*")) if p.name != LOCK_FILE and not p.is_dir()]
        newest_s = max((p.lstat().st_mtime for p in files), default=path.lstat().st_mtime)
    except FileNotFoundError:  # somebody is at work there
        return False
    return now_s - newest_s >= YOUNG_S


def _is_unfinished(folder: Path) -> bool:
    return any(folder.glob(SCRATCH)) or any(folder.glob(f"attempt-*/{SCRATCH}"))


def _remove_folder(folder: Path, now_s: float) -> bool:
    """Unless somebody makes the artifact, or did so after it was looked at."""
    with suppress(PermissionError), hold_file(folder / LOCK_FILE) as held:
        if held and _is_old(folder, now_s):
            shutil.rmtree(folder, ignore_errors=True)
            return True
    return False
