"""Runs the parts one after the other, each a child process that ends whole within its budget.

A part emits `row` events, {"case": ..., "result": ..., figures}, and they are kept as they come:
what a part found before it broke, or before its time was up, stays. A `skip` event says in a
sentence why it cannot run here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from perpo_core.process.environment import build_child_env
from perpo_core.process.parent import ChildFailed, run_child
from perpo_core.process.troubles import DiskFull
from tests.gpu_check.plan import EVERYTHING_NEEDS, LEAST_S, Part, PartJob, find_missing

ROOT = Path(__file__).parents[2]
Result = dict[str, Any]  # a part of the JSON object


def run_parts(
    parts: Sequence[Part],
    build_job: Callable[[Part, float], PartJob],
    total_s: float,
    on_change: Callable[[list[Result]], None],
) -> list[Result]:
    """A result a part; `on_change` sees all of them after every row and every end."""
    deadline_s = time.monotonic() + total_s
    results: list[Result] = []
    for part in parts:
        budget_s = min(part.budget_s, deadline_s - time.monotonic())
        results.append(_begin(part, budget_s))
        if reason := _find_obstacle(part, budget_s, total_s):
            results[-1] |= {"status": "skipped", "reason": reason}
        else:
            _run_part(part, build_job(part, budget_s), results[-1], lambda: on_change(results))
        on_change(results)
    return results


def _begin(part: Part, budget_s: float) -> Result:
    return {
        "name": part.name, "status": "running", "reason": "", "seconds": 0.0,
        "budget_s": round(max(budget_s, 0), 1), "rows": [],
    }  # fmt: skip


def _find_obstacle(part: Part, budget_s: float, total_s: float) -> str:
    """Why a part cannot run, one sentence; empty when it can."""
    if missing := find_missing([*EVERYTHING_NEEDS, *part.needs]):
        return (
            f"{', '.join(missing)} is not installed: fill build/gpu-wheels with `make gpu-wheels` "
            "where there is a network, and take the folder along."
        )
    if budget_s < min(LEAST_S, part.budget_s):
        return f"The {total_s:g} s of the whole check were used up before it."
    return ""


def _run_part(part: Part, job: PartJob, result: Result, on_change: Callable[[], None]) -> None:
    started_s = time.monotonic()
    job.folder.mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    timer = threading.Timer(job.budget_s, stop.set)
    timer.start()

    def on_event(event: dict[str, Any]) -> None:
        result["seconds"] = round(time.monotonic() - started_s, 1)
        if event["event"] == "row":
            row = {name: value for name, value in event.items() if name != "event"}
            result["rows"].append(row)
            on_change()
        elif event["event"] == "skip":
            result["status"], result["reason"] = "skipped", event["reason"]

    try:
        run_child(
            part.module,
            job,
            on_event=on_event,
            log=lambda message: None,
            progress_timeout_s=2 * job.budget_s,  # the timer is first
            env=_build_env(job),
            log_path=job.folder / "part.log",
            stop=stop,
        )
    except (ChildFailed, DiskFull) as error:
        result["status"] = "failed"
        result["reason"] = _describe_end(part, job, error, stop.is_set())
    finally:
        timer.cancel()
    result["seconds"] = round(time.monotonic() - started_s, 1)
    _judge(result)


def _describe_end(part: Part, job: PartJob, error: Exception, timed_out: bool) -> str:
    if timed_out:
        return f"It was ended at its budget of {job.budget_s:.0f} s; what it found by then stays."
    if isinstance(error, ChildFailed):
        last = f": {error.last_lines[-1]}" if error.last_lines else ""
        return f"{part.module} {error.reason}{last} (log: {error.log_path})."
    return f"{error}."


def _judge(result: Result) -> None:
    """passed needs an end in time, at least one row, and no row that failed."""
    if result["status"] == "skipped":
        return
    bad = [row["case"] for row in result["rows"] if row["result"] == "failed"]
    if not result["reason"] and bad:
        result["reason"] = f"{len(bad)} of {len(result['rows'])} cases failed: {', '.join(bad)}."
    if not result["reason"] and not result["rows"]:
        result["reason"] = "It ended without a result."
    result["status"] = "failed" if result["reason"] else "passed"


def _build_env(job: PartJob) -> dict[str, str]:
    """This package, which is not installed, and one thread where there are only a few cores."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = build_child_env(1) if job.miniature else {}
    return {"PYTHONPATH": os.pathsep.join(paths), **threads}
