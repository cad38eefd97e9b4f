"""Stage generate: sample G answers of every training prompt from the policy itself."""

from __future__ import annotations

from perpo_core.generate.sampling import (
    KIND,
    VERSION,
    compute_candidates_key,
    make_candidates,
)
from perpo_core.stage import StageContext
from schemas.artifact import CandidateSet, SampleSet
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, SamplingRequest

__all__ = ["KIND", "VERSION", "compute_key", "run"]


def build_request(config: RefreshConfig) -> SamplingRequest:
    """What the generate stage samples."""
    generate = config.generate
    return SamplingRequest(
        splits=["train"],
        num_candidates=generate.num_candidates,
        greedy=False,
        temperature=generate.temperature,
        top_p=generate.top_p,
        max_tokens=generate.max_tokens,
        seed=generate.seed,
        shard_prompts=generate.shard_prompts,
        engine=generate.engine,
        dtype=config.policy.dtype,
        max_model_len=config.policy.max_model_len,
    )


def compute_key(config: RefreshConfig, policy: PolicyRef, samples: SampleSet) -> str:
    """Samples, policy and sampling settings."""
    return compute_candidates_key(build_request(config), policy, samples)


def run(context: StageContext, key: str, samples: SampleSet) -> CandidateSet:
    """Candidates of every training prompt."""
    request = build_request(context.config)
    return make_candidates(context, key, request, context.policy, samples)
