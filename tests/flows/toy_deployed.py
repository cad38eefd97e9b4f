"""The deployed flows on toy stages, for a worker: each stage takes long enough to be seen."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from flows.recipes.deployed import refresh
from flows.recipes.stages import (
    collect,
    contrast,
    evaluate,
    generate,
    materialize,
    promote,
    score,
    train,
)
from tests.flows.toy import TOY_STAGES, install

__all__ = [
    "collect", "contrast", "evaluate", "generate", "materialize", "promote", "refresh", "score",
    "train",
]  # fmt: skip
PAUSE_S = float(os.environ.get("PERPO_TOY_PAUSE_S", "0"))


def slow_down(run: Callable[..., Any]) -> Callable[..., Any]:
    def run_slowly(*arguments: Any) -> Any:
        time.sleep(PAUSE_S)
        return run(*arguments)

    return run_slowly


for stage in TOY_STAGES.values():
    stage.run = slow_down(stage.run)
install(dict.__setitem__)
