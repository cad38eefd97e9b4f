"""Which GPUs this machine lets us use, and how engines share them; no torch for the question."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia")
_SHARE: ContextVar[list[str] | None] = ContextVar("perpo_gpus", default=None)


@contextmanager
def using_gpus(share: list[str] | None) -> Iterator[None]:
    """Whatever runs inside has these GPUs alone; None: all there are."""
    token = _SHARE.set(share)
    try:
        yield
    finally:
        _SHARE.reset(token)


def get_share() -> list[str] | None:
    """What `using_gpus` says; None: nothing."""
    return _SHARE.get()


def find_gpus(driver: Path = DRIVER) -> list[str]:
    """The GPUs as CUDA_VISIBLE_DEVICES names them, what the user set respected; [] without any.

    Where they are shared out, those of the share.
    """
    if (share := get_share()) is not None:
        return share
    if not (driver / "version").exists():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    folder = driver / "gpus"
    return [str(i) for i, _ in enumerate(folder.iterdir())] if folder.is_dir() else ["0"]


def count_engines(processes: int, tensor_parallel: int, gpus: list[str]) -> int:
    """Engines side by side: as many as asked for and, on GPUs, as have their own ones."""
    return max(1, min(processes, len(gpus) // tensor_parallel)) if gpus else processes


def assign_gpus(rank: int, world: int, tensor_parallel: int, gpus: list[str]) -> list[str] | None:
    """The GPUs of one of `world` engines; None lets it see what there is."""
    if world == 1 or not gpus:
        return get_share()
    return gpus[rank * tensor_parallel : (rank + 1) * tensor_parallel]
