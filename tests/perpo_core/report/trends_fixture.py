"""Nights of runs in a store, for looking at the page of runs over time: records and report.json.

python -m tests.perpo_core.report.trends_fixture FOLDER [NUMBER]
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from flows.runs.records import write_record
from perpo_core.report.trends import write_trends
from perpo_core.store.atomic import write_atomic
from perpo_core.store.keys import compute_hash
from perpo_core.store.store import Store
from schemas.artifact import Counts, Metric
from schemas.base import STAGES, StageName
from schemas.config import RefreshConfig
from schemas.report import PolicyDigests, Report
from schemas.run import RunRecord, StageRecord
from schemas.train_config import TrainConfig

STARTED_AT = datetime(2025, 3, 1, 2, 0, tzinfo=UTC)
SECONDS = {"collect": 40, "generate": 2300, "score": 35, "materialize": 30, "train": 5100,
           "evaluate": 1400, "promote": 0.2}  # fmt: skip
KINDS = {
    "collect": "samples", "generate": "candidates", "score": "scores", "train": "checkpoint",
    "materialize": "preferences", "evaluate": "evaluation", "promote": "promotion",
}  # fmt: skip
FAILED_NIGHT, SAMPLES_NIGHT, SETTING_NIGHT, PROMOTED_NIGHTS = 4, 3, 6, (0, 2, 7)
ERROR = "perpo_core.stages.train.child ran out of <memory>; its log is beside the store"


def build_nights(root: Path, num: int = 10, name: str = "nightly") -> tuple[Store, list[RunRecord]]:
    """`num` nights: one failed, one with more samples, one with another setting, three promoted."""
    store, rng = Store(root), np.random.default_rng(0)
    records = []
    policy, base = "policy 0", 0.55
    for night in range(num):
        record = build_night(store, name, night, policy)
        write_record(store, record)
        records.append(record)
        gain = 0.02 * rng.random() + 0.004
        if night != FAILED_NIGHT:
            path = store.root / "reports" / record.run_id / "report.json"
            write_atomic(path, build_report(record, base, gain).model_dump_json().encode())
            write_atomic(path.with_suffix(".html"), b"a report")
        if night in PROMOTED_NIGHTS:
            promote(store, record)
            policy, base = f"policy {night + 1}", base + gain
    return store, records


def build_night(store: Store, name: str, night: int, policy: str) -> RunRecord:
    started_at = STARTED_AT + timedelta(days=night, minutes=3 * night)
    failed = night == FAILED_NIGHT
    stages = {
        stage: build_stage(stage, night, policy)
        for stage in (STAGES[: STAGES.index("train")] if failed else STAGES)
    }
    return RunRecord(
        run_id=f"{name}-{started_at:%Y%m%d-%H%M%S}",
        status="failed" if failed else "completed",
        config=RefreshConfig(name=name, store=store.root,
                             train=TrainConfig(beta=0.2 if night >= SETTING_NIGHT else 0.1)),
        policy_digest=compute_hash(policy),
        policy_folder=store.root / "policy",
        stages=stages,
        started_at=started_at,
        ended_at=started_at + timedelta(seconds=sum(s.seconds for s in stages.values()) + 20),
        error=ERROR if failed else None,
        report=Path("reports/report.html"),
    )  # fmt: skip


def build_stage(stage: StageName, night: int, policy: str) -> StageRecord:
    content = [stage, night >= SAMPLES_NIGHT] if stage == "collect" else [stage, night, policy]
    reused = stage == "collect" and night not in (0, SAMPLES_NIGHT)
    return StageRecord(
        kind=KINDS[stage],
        key=compute_hash(content),
        digest=compute_hash(["digest", *content]),
        reused=reused,
        seconds=0.1 if reused else SECONDS[stage] * (1 + 0.05 * night),
    )


def build_report(record: RunRecord, base: float, gain: float) -> Report:
    more = record.started_at >= STARTED_AT + timedelta(days=SAMPLES_NIGHT)
    num_kept = 2380 if more else 1792
    return Report(
        run_id=record.run_id, status=record.status, verdict="", headline="",
        started_at=record.started_at, ended_at=record.ended_at, config=record.config,
        policies=PolicyDigests(base=record.policy_digest), validation={}, headroom_closed={},
        metrics={
            "grounding": {"acc_at_50": build_metric(base, gain, 0.008)},
            "ocr": {"edit_distance": build_metric(0.3 - base / 4, -gain / 3, 0.006)},
            "counting": {"accuracy": build_metric(0.7, 0.2 * gain - 0.004, 0.012)},
        },
        stages={}, counts={"collect": Counts(num_in=num_kept, num_kept=num_kept)}, missing={},
        versions={}, producers={},
    )  # fmt: skip


def build_metric(base: float, delta: float, spread: float) -> Metric:
    return Metric(base=base, trained=base + delta, delta=delta, delta_low=delta - spread,
                  delta_high=delta + spread, n=2048)  # fmt: skip


def promote(store: Store, record: RunRecord) -> None:
    """As perpo_core.promotion.pointer would, without a model folder."""
    from perpo_core.promotion import pointer

    moved: Any = pointer.Pointer(
        policy_digest=compute_hash([record.run_id]), folder="checkpoint/none",
        promotion_key=record.stages["promote"].key, at=record.started_at,
    )  # fmt: skip
    pointer._move(store, moved)


if __name__ == "__main__":
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    built_store, built = build_nights(Path(sys.argv[1]), number)
    print(write_trends(built_store, built))
