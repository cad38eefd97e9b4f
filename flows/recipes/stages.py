"""One flow per stage: that stage of a recorded run again, by itself, e.g. as a deployment."""

from __future__ import annotations

from prefect import Flow, flow

from flows.recipes.refresh import continue_run
from flows.runs.own_state import run_watched
from schemas.base import ALL_STAGES, PlaceText, StageName
from schemas.run import RunRecord

DESCRIPTION = """The {stage} stage of a recorded run, by itself.

The stages before it are taken from the run's record.

Args:
    run: A run id, or latest; `perpo runs` lists them.
    force: Make the stage anew even where the store has what it would make.
    store: The folder of artifacts and runs, or s3://bucket/prefix.
    profile: Write a torch profile of what it makes to profiles/ in the store.
"""  # a form shows these


def build_stage_flow(stage: StageName) -> Flow[..., RunRecord]:
    """The flow that makes one stage of a run from the artifacts of the stages before it."""

    def run_stage(
        run: str = "latest", force: bool = True, store: PlaceText = "store", profile: bool = False
    ) -> RunRecord:
        return run_watched(lambda: continue_run(store, run, stage, True, force, profile))

    run_stage.__doc__ = DESCRIPTION.format(stage=stage)
    decorate = flow(name=stage, flow_run_name=f"{stage} of {{run}}", persist_result=False)
    return decorate(run_stage)


STAGE_FLOWS: dict[StageName, Flow[..., RunRecord]] = {
    stage: build_stage_flow(stage) for stage in ALL_STAGES
}

# Deployments name a module-level flow, e.g. flows/recipes/stages.py:score.
collect = STAGE_FLOWS["collect"]
generate = STAGE_FLOWS["generate"]
score = STAGE_FLOWS["score"]
materialize = STAGE_FLOWS["materialize"]
contrast = STAGE_FLOWS["contrast"]
train = STAGE_FLOWS["train"]
evaluate = STAGE_FLOWS["evaluate"]
promote = STAGE_FLOWS["promote"]
