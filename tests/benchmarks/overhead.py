"""`make bench-overhead`: what orchestration costs: the wall time of a refresh that is no work.

Work is the time that generate, score, train and evaluate spend inside their own run, the start and
the imports of their child processes included, as their artifacts say. All else is overhead: the
start of the command, Prefect and its server, collecting the samples, building the lists, hashing,
the report. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from flows.runs.home import HOME
from flows.serving.server import start_server
from perpo_core.store.store import Store
from schemas.base import StageName
from schemas.run import RunRecord
from tests.flows.whole import load_latest, run_perpo

WORK: tuple[StageName, ...] = ("generate", "score", "train", "evaluate")
DEFAULT_CONFIG = Path("infra/configs/default.toml")
ALLOWED_SHARE, ALLOWED_S = 0.10, 20.0  # of the wall time, or seconds: whichever is more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=DEFAULT_CONFIG)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="perpo-overhead-") as folder:
        measured = measure(arguments.config, Path(folder) / "store")
    print(json.dumps(measured))


def measure(config: Path, store: Path, *settings: str) -> dict[str, Any]:
    """One refresh in an empty store: seconds by part, and how many task runs it took."""
    overrides = [word for each in (f"store={store}", *settings) for word in ("--set", each)]
    started_s = time.monotonic()
    run_perpo("refresh", config, *overrides)
    wall_s = time.monotonic() - started_s
    record = load_latest(store)
    assert record is not None and record.status == "completed"
    spent_s = {stage: find_work_s(store, record, stage) for stage in record.stages}
    overhead_s = wall_s - sum(spent_s[stage] for stage in WORK)
    return {
        "wall_s": round(wall_s, 1),
        **{f"{stage}_s": round(seconds, 1) for stage, seconds in spent_s.items()},
        "rest_s": round(wall_s - sum(spent_s.values()), 1),
        "overhead_s": round(overhead_s, 1),
        "overhead_share": round(overhead_s / wall_s, 3),
        "task_runs": count_task_runs(store, record),
    }


def find_work_s(store: Path, record: RunRecord, stage: StageName) -> float:
    """Seconds inside the stage's own run."""
    entry = record.stages[stage]
    artifact = Store(store).load(entry.kind, entry.key)
    assert artifact is not None and not entry.reused
    return float(artifact.seconds)


def count_task_runs(store: Path, record: RunRecord) -> int:
    """As Prefect's server counts them, in the database the run was recorded in."""
    with start_server(store / HOME) as server:
        server.wait()
        body = {"flow_runs": {"id": {"any_": [record.flow_run_id]}}}
        answer = httpx.post(f"{server.url}/task_runs/count", json=body, trust_env=False)
    return int(answer.raise_for_status().json())


def is_allowed(measured: dict[str, Any]) -> bool:
    """Whether the overhead is within its bound."""
    return bool(measured["overhead_s"] < max(ALLOWED_SHARE * measured["wall_s"], ALLOWED_S))


if __name__ == "__main__":
    main()
