"""Which module makes which stage; imported only when the stage is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from perpo_core.stages.stage import Stage
from schemas.base import StageName

STAGE_MODULES: dict[StageName, str] = {
    "collect": "perpo_core.stages.collect",
    "generate": "perpo_core.stages.generate",
    "score": "perpo_core.stages.score",
    "materialize": "perpo_core.stages.materialize",
    "contrast": "perpo_core.stages.contrast",
    "train": "perpo_core.stages.train",
    "evaluate": "perpo_core.stages.evaluate",
    "promote": "perpo_core.stages.promote",
}


def load_stage(name: StageName) -> Stage:
    """The stage's module: KIND, VERSION, compute_key and run (perpo_core/stages/stage.py)."""
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
