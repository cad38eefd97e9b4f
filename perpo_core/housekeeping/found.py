"""One thing that goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Garbage:
    """One thing that goes: its paths leave the store together."""

    kind: str
    """Kind of artifact, "reports", "tensorboard", "profiles", or "trash" of a killed removal."""
    what: str
    paths: tuple[Path, ...]
    num_bytes: int
