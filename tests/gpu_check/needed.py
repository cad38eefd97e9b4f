"""What nothing of the check can do without; standard library only, so that it can say so."""

from __future__ import annotations

import importlib.util

FIRST = ("torch", "pydantic")


def find_first_obstacle(cpu: bool) -> str:
    """Why the check cannot begin, one sentence; empty when it can."""
    missing = [name for name in FIRST if importlib.util.find_spec(name) is None]
    if missing:
        return (
            f"{' and '.join(missing)} cannot be imported; torch must be there, and the rest comes "
            "from the wheels that `make gpu-wheels` gets where there is a network."
        )
    import torch

    if not cpu and not torch.cuda.is_available():
        return (
            f"torch {torch.__version__} sees no CUDA device; `make gpu-check ARGS=--cpu` runs it "
            "in miniature on a CPU."
        )
    return ""
