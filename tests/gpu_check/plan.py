"""The parts of `make gpu-check`, what matters most first: module, time budget, what each needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from schemas.base import Frozen

TOTAL_S = 470.0  # all parts; with the start of the command, 8 minutes
CPU_PATIENCE = 3.0  # times every budget: in miniature it is no matter of speed
LEAST_S = 15.0  # with less left, a part does not begin: its imports alone take as long
Engine = Literal["vllm", "transformers"]
EVERYTHING_NEEDS = ("pyarrow", "transformers", "accelerate", "peft")


@dataclass(frozen=True)
class Part:
    """`python -m MODULE job.json`, a child process as perpo_core.process.parent runs it."""

    name: str
    module: str
    budget_s: float
    needs: tuple[str, ...] = ()
    """Packages to import, beside EVERYTHING_NEEDS."""
    size: str = ""
    """speed: which of tests.gpu_check.models.SIZES."""


PARTS = (
    Part("parity", "tests.gpu_check.parity", 50),
    Part("attention", "tests.gpu_check.attention", 70),
    Part("objectives", "tests.gpu_check.objectives", 60, ("sklearn", "rapidfuzz")),
    Part("speed-0.5B", "tests.gpu_check.speed", 60, size="0.5B"),
    Part("speed-7B", "tests.gpu_check.speed", 95, size="7B"),
    Part("refresh", "tests.gpu_check.refresh", 90, ("sklearn", "rapidfuzz")),
    Part("memory", "tests.gpu_check.memory", 45, ("sklearn", "rapidfuzz", "psutil")),
)


class PartJob(Frozen):
    """What a part is told."""

    device: Literal["cuda", "cpu"]
    folder: Path
    """The part's own, empty."""
    budget_s: float
    engine: Engine
    size: str = ""
    peak_flops: float | None = None
    """Of the card in bfloat16, dense; None where it is not known."""

    @property
    def miniature(self) -> bool:
        """Tiny shapes: on a CPU it is the code that is tried, not the machine."""
        return self.device == "cpu"


def find_missing(names: Sequence[str]) -> list[str]:
    """Those of the packages that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]
