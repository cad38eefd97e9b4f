"""Objectives: one file and one line here."""

from __future__ import annotations

from perpo_core.objectives.base import ListBatch, Objective
from perpo_core.objectives.perpo import PERPO
from perpo_core.objectives.sft import SFT

OBJECTIVES: dict[str, Objective] = {
    "perpo": PERPO,
    "sft": SFT,
}

__all__ = ["OBJECTIVES", "ListBatch", "Objective"]
