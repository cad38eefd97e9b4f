"""One try among several: an ordinary run up to evaluate, with its report, that promotes nothing."""

from __future__ import annotations

from prefect import flow

from flows.recipes.refresh import name_refresh, run_refresh
from flows.runs.own_state import run_watched
from schemas.config import RefreshConfig
from schemas.run import RunRecord


@flow(name="trial", flow_run_name=name_refresh, persist_result=False)
def run_trial(config: RefreshConfig) -> RunRecord:
    """One trial: a refresh up to evaluate."""
    return run_watched(lambda: run_refresh(config, None, last="evaluate"))
