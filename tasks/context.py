"""What a stage gets inside a task: the store, and log and progress that reach Prefect's UI."""

from __future__ import annotations

from pathlib import Path

from prefect.logging import get_run_logger

from perpo_core.stages.stage import StageContext
from perpo_core.store.open import open_store
from schemas.base import StageName
from schemas.config import RefreshConfig
from schemas.run import PolicyRef
from tasks.progress import Progress
from tasks.watch import get_watcher


def build_context(
    stage: StageName,
    config: RefreshConfig,
    policy: PolicyRef,
    force: bool,
    profile: Path | None = None,
) -> StageContext:
    """The context of a stage's task run; `profile` is the folder of the run's profiles."""
    logger = get_run_logger()

    def log(message: str) -> None:
        logger.info("%s", message)
        get_watcher().log(stage, message)

    return StageContext(
        store=open_store(config.store),
        config=config,
        policy=policy,
        force=force,
        log=log,
        progress=Progress(stage),
        profile=profile / stage if profile else None,
    )
