"""Part refresh: a whole small refresh of the built-in policy, its stages as plain functions.

A row a stage with its counts, one a task with the reward before and after, and one that says
whether every stage is reused when it is asked again. So few lists prove that every stage works on
this machine, and nothing about how much is learned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from flows.recipes.recipe import follow_recipe
from perpo_core.process.child import emit, load_job
from perpo_core.stages.stage import StageContext, StageResult, find_or_make
from schemas.artifact import EvalReport
from schemas.base import StageName
from tasks.modules import load_stage
from tests.gpu_check.cases import Figures, judge
from tests.gpu_check.plan import PartJob
from tests.gpu_check.stages import build_context, skip_if_unloadable

METRICS = ("greedy_reward", "sampled_reward")


def main() -> None:
    job = load_job(PartJob)
    if skip_if_unloadable():
        return
    context = build_context(job)
    evaluation: Any = None

    def make(stage: StageName, *parents: Any) -> Any:
        nonlocal evaluation
        result = find_or_make(context, load_stage(stage), *parents)
        emit("row", case=stage, **describe_stage(stage, result, job.device))
        evaluation = result.artifact if stage == "evaluate" else evaluation
        return result.artifact

    follow_recipe(make, context.config)
    for row in describe_rewards(evaluation):
        emit("row", **row)
    emit("row", case="asked again", **ask_again(context))
    emit("result")


def describe_stage(stage: StageName, result: StageResult, device: str) -> Figures:
    """Counts of a stage; on a GPU, training must have run there."""
    counts, producer = result.artifact.counts, result.artifact.producer
    in_place = stage != "train" or producer.device.startswith(device)
    return {
        "result": judge(in_place and counts.num_kept > 0),
        "rows_in": counts.num_in,
        "rows_kept": counts.num_kept,
        "stage_s": round(result.seconds, 1),
        "device": producer.device,
    } | ({"engine": producer.engine} if producer.engine else {})


def describe_rewards(evaluation: EvalReport) -> Iterator[Figures]:
    """Mean reward on the test prompts, of the policy before and after."""
    for task, metrics in evaluation.metrics.items():
        for name in METRICS:
            metric = metrics[name]
            yield {
                "case": f"{task} {name}",
                "result": judge(math.isfinite(metric.base) and math.isfinite(metric.trained)),
                "before": round(metric.base, 4),
                "after": round(metric.trained, 4),
                "prompts": metric.n,
            }


def ask_again(context: StageContext) -> Figures:
    """Whether the store has every stage of the same refresh."""
    made: list[str] = []

    def make(stage: StageName, *parents: Any) -> Any:
        result = find_or_make(context, load_stage(stage), *parents)
        if not result.reused:
            made.append(stage)
        return result.artifact

    follow_recipe(make, context.config)
    note = f"made again: {', '.join(made)}" if made else "every stage reused"
    return {"result": judge(not made), "note": note}


if __name__ == "__main__":
    main()
