"""Small files of a bucket that were read before, kept in the working copy by their ETag.

A listing tells the ETags of a thousand files in one request, so that records of runs, which are
read again and again and never go, are fetched once a machine and after every change.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from perpo_core.store.atomic import write_atomic
from perpo_core.store.bucket.objects import Body, Listed, Remote

FOLDER = ".copies"  # <working copy>/.copies/runs/a.json: a line with the ETag, then the content


def read_listed(
    remote: Remote, root: Path, listed: Mapping[str, Listed]
) -> dict[str, bytes | None]:
    """The files of a listing, by name; None for one that is gone since."""
    found = {name: _read_copy(root, name, each.version) for name, each in listed.items()}
    missing = [name for name, content in found.items() if content is None]
    for name, body in zip(missing, remote.map(remote.read, missing), strict=True):
        found[name] = _keep(root, name, body) if body else None
    return found


def _read_copy(root: Path, name: str, version: str) -> bytes | None:
    path = root / FOLDER / name
    kept, _, content = path.read_bytes().partition(b"\n") if path.is_file() else (b"", b"", b"")
    return content if kept == version.encode() else None


def _keep(root: Path, name: str, body: Body) -> bytes:
    write_atomic(root / FOLDER / name, body.version.encode() + b"\n" + body.content)
    return body.content
