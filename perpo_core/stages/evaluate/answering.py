"""A policy's answers for an evaluation, from the store where it has them."""

from __future__ import annotations

from perpo_core.stages.generate import compute_candidates_key, make_candidates
from perpo_core.stages.stage import StageContext
from schemas.artifact import CandidateSet, SampleSet
from schemas.run import PolicyRef, SamplingRequest


def answer(
    context: StageContext,
    samples: SampleSet,
    policy: PolicyRef,
    request: SamplingRequest,
    name: str,
    what: str,
) -> CandidateSet:
    """Committed answers; `name` is whose and `what` which, for the log."""
    key = compute_candidates_key(request, policy, samples)
    found: CandidateSet | None = context.find("candidates", key, context.log)
    if found is not None:
        context.log(f"{name}: {what} answers are in the store already")
        return found
    context.log(f"{name}: answering the {what} prompts")
    made, _ = context.make_alone(
        "candidates", key, lambda: make_candidates(context, key, request, policy, samples)
    )
    committed: CandidateSet = made
    return committed
