"""Logged training steps as two equal trainings share them."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.artifact import TrainPoint

OF_THE_MACHINE = {"tokens_per_second": None, "peak_memory_gb": None}


def keep_reproducible(history: Sequence[TrainPoint]) -> list[TrainPoint]:
    """The points without speed and memory, which no two runs have in common."""
    assert all(getattr(point, name) for point in history for name in OF_THE_MACHINE)
    return [point.model_copy(update=OF_THE_MACHINE) for point in history]
