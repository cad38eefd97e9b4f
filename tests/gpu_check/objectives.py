"""Part objectives: training steps of every objective and term on this device, as on the CPU.

Passed means: every loss is finite, the weights moved, and no loss of the steps is further from the
CPU's than TOLERANCE, relative. The first loss often follows from the rewards alone, since policy
and reference are the same then; those after it follow from gradients too.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from perpo_core.process.child import emit, load_job
from perpo_core.process.parent import run_child
from tests.gpu_check.cases import Figures, judge
from tests.gpu_check.plan import PartJob
from tests.gpu_check.stages import skip_if_unloadable

MODULE = "tests.gpu_check.objective_steps"
TOLERANCE = 2e-3


def main() -> None:
    job = load_job(PartJob)
    if skip_if_unloadable():
        return
    with ThreadPoolExecutor(2) as pool:
        here = pool.submit(make_rows, job, "device", {})
        there = pool.submit(make_rows, job, "cpu", {"CUDA_VISIBLE_DEVICES": ""})
        rows, others = here.result(), there.result()
    for name, row in rows.items():
        emit("row", case=name, **compare_rows(row, others[name], job.device))
    emit("result")


def make_rows(job: PartJob, name: str, env: dict[str, str]) -> dict[str, Figures]:
    """The steps of every objective in a process of their own: case -> row."""
    folder = job.folder / name
    rows: dict[str, Figures] = {}

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "row":
            rows[event["case"]] = event

    run_child(
        MODULE,
        job.model_copy(update={"folder": folder}),
        on_event=on_event,
        log=lambda message: None,
        progress_timeout_s=job.budget_s,
        env={"PYTHONPATH": os.environ["PYTHONPATH"], **env},
        log_path=folder / "steps.log",
    )
    return rows


def compare_rows(row: Figures, other: Figures, device: str) -> Figures:
    """A row of the part; a case that broke in either process keeps its reason."""
    for each, where in ((row, device), (other, "cpu")):
        if each["result"] != "measured":
            return {"result": "failed", "note": f"on {where}: {each['note']}"}
    pairs = list(zip(row["losses"], other["losses"], strict=True))
    gap = max(abs(mine - cpu) / max(abs(cpu), 1e-6) for mine, cpu in pairs)
    finite = all(map(math.isfinite, row["losses"]))
    passed = finite and row["weight_change"] > 0 and gap <= TOLERANCE
    return {
        "result": judge(passed and row["device"] == device),
        "losses": [round(loss, 4) for loss in row["losses"]],
        "loss_difference": gap, "loss_tolerance": TOLERANCE,
        "weight_change": row["weight_change"], "device": row["device"],
    }  # fmt: skip


if __name__ == "__main__":
    main()
