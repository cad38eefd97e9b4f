"""A case of a part: its row is reported whatever happens in it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch

from perpo_core.process.child import emit

Figures = dict[str, Any]


def report_case(case: str, compute: Callable[[], Figures]) -> None:
    """Emit the case's row: what `compute` gives, with a result among it, or why it gave nothing."""
    try:
        row = compute()
    except torch.OutOfMemoryError as error:
        row = {"result": "out of memory", "note": _first_line(error)}
    except Exception as error:  # a check goes on with its next case, whatever broke this one
        row = {"result": "failed", "note": f"{type(error).__name__}: {_first_line(error)}"}
    emit("row", **({"case": case} | row))
    free_memory()


def free_memory() -> None:
    """Give back what the last case held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def judge(passed: bool) -> str:
    return "passed" if passed else "failed"


def use_exact_float32() -> None:
    """No TF32 in convolutions, which CUDA uses for float32 by default."""
    torch.backends.cudnn.allow_tf32 = False


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:300]
