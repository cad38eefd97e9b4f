"""The refresh as a deployment starts it: its parameters are what a form or a schedule can say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from flows.recipes.refresh import run_refresh
from flows.runs.own_state import run_watched
from perpo_core.configuration.load import load_config
from perpo_core.store.provenance import utc_now
from schemas.base import PlaceText, StageName
from schemas.run import RunRecord

DEFAULT_CONFIG = Path("infra/configs/default.toml")


def name_deployed() -> str:
    """Such as "nightly 2026-11-22 02:00"."""
    config_file: Any = flow_run.parameters["config_file"]
    return f"{Path(config_file).stem} {utc_now():%Y-%m-%d %H:%M}"


@flow(name="refresh", flow_run_name=name_deployed, persist_result=False)
def refresh(
    config_file: Path = DEFAULT_CONFIG,
    overrides: list[str] = [],  # noqa: B006  # never changed; a form shows it as an empty list
    force_from: StageName | None = None,
    store: PlaceText | None = None,
) -> RunRecord:
    """Sample, score, rank, train, evaluate, promote; what the store already has is reused.

    Args:
        config_file: The configuration (TOML), from the repository's folder or absolute.
        overrides: Settings to change, one a line, e.g. train.beta=0.2; `perpo config` lists all.
        force_from: Make this stage and all after it anew, even where the store has them.
        store: The folder of artifacts and runs, or s3://bucket/prefix; empty means the
            configuration's own.
    """
    own = [f"store={store}"] if store else []
    config = load_config(config_file, [*overrides, *own])
    return run_watched(lambda: run_refresh(config, force_from))
