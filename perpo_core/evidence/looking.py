"""A closer look at one trained policy: image, ranking, drift; what no judging metric says.

Of each method its first seed is looked at, on at most evaluate.probe_prompts test samples a task
(drift: 512); of none no ranking is measured. Log-probabilities and answers are artifacts of the
store, so that the same look again computes nothing.
"""

from __future__ import annotations

from perpo_core.evidence.drift import measure_drift
from perpo_core.evidence.ranking import measure_ranking
from perpo_core.stages.evaluate import locate_trained
from perpo_core.stages.stage import StageContext
from schemas.artifact import CandidateSet, Checkpoint, EvalReport, SampleSet
from schemas.base import TaskName
from schemas.comparison import TaskLook


def look_closer(
    context: StageContext, samples: SampleSet, checkpoint: Checkpoint, evaluation: EvalReport
) -> dict[TaskName, TaskLook]:
    """By task; raises ChildFailed where a model broke, ValueError where there is nothing to ask."""
    trained = locate_trained(context, checkpoint)
    base = find_base_answers(context, evaluation)
    asked = context.config.evaluate.probe_prompts
    ranking = measure_ranking(context, samples, trained, base).tasks if asked else {}
    drift = measure_drift(context, samples, checkpoint)
    return {
        task: TaskLook(
            image=evaluation.image_probe.get(task, {}),
            ranking=ranking.get(task),
            drift=drift.tasks.get(task),
        )
        for task in evaluation.metrics
    }


def find_base_answers(context: StageContext, evaluation: EvalReport) -> CandidateSet:
    """What the start policy answered; raises ValueError if the store no longer has it."""
    parent = next(parent for parent in evaluation.parents if parent.kind == "candidates")
    found = context.store.load(parent.kind, parent.key)
    if not isinstance(found, CandidateSet):
        raise ValueError(
            "the start's held-out answers are no longer in the store; evaluate again, with "
            "`perpo rerun RUN --from evaluate --force`"
        )
    return found
