"""Uploads in parts that a kill cut off: unlisted, and paid for until they are ended."""

from __future__ import annotations

from perpo_core.store.bucket.objects import Remote, RemoteError
from perpo_core.store.store import YOUNG_S

RULE = "a lifecycle rule does the same (docs/deploy.md, S3)"


def end_cut_uploads(remote: Remote, now_s: float) -> list[str]:
    """End those older than a day; a sentence of what was done, or of why it could not be."""
    try:
        old = [each for each in remote.list_uploads() if now_s - each.begun_s >= YOUNG_S]
        remote.map(remote.end_upload, old)
    except RemoteError as error:  # few need the right to it; the clean-up itself is done
        return [f"uploads that were cut off could not be ended; {RULE}: {error}"]
    return [f"{len(old)} uploads that were cut off were ended"] if old else []
