"""Which module makes which stage; imported only when the stage is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from perpo_core.stage import Stage
from schemas.base import StageName

STAGE_MODULES: dict[StageName, str] = {
    "collect": "perpo_core.collect",
    "generate": "perpo_core.generate",
    "score": "perpo_core.score",
    "materialize": "perpo_core.materialize",
    "train": "perpo_core.train",
    "evaluate": "perpo_core.evaluate",
    "promote": "perpo_core.promote",
}


def load_stage(name: StageName) -> Stage:
    """The stage's module: KIND, VERSION, compute_key and run (perpo_core/stage.py)."""
    return cast(Stage, importlib.import_module(STAGE_MODULES[name]))


@dataclass
class StageWithRun:
    """A stage whose work is done by another function: the same key, kind and version."""

    KIND: str
    VERSION: int
    compute_key: Callable[..., str]
    run: Callable[..., Any]


def with_run(stage: Stage, run: Callable[..., Any]) -> Stage:
    """The stage with `run(context, key, *parents)` in place of its own."""
    return StageWithRun(stage.KIND, stage.VERSION, stage.compute_key, run)
