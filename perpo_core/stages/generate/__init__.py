"""Stage generate: sample G answers of every training prompt from the policy itself."""

from __future__ import annotations

from collections.abc import Sequence

from perpo_core.promotion.lineage import find_older_policies
from perpo_core.stages.generate.identity import KIND, VERSION, compute_candidates_key
from perpo_core.stages.generate.sampling import make_candidates
from perpo_core.stages.stage import StageContext
from perpo_core.store.open import open_store
from schemas.artifact import CandidateSet, SampleSet
from schemas.base import Split
from schemas.config import RefreshConfig
from schemas.run import PolicyRef, SamplingRequest

__all__ = [
    "KIND", "VERSION", "build_own_request", "build_sampling_request", "compute_candidates_key",
    "compute_key", "make_candidates", "run",
]  # fmt: skip


def build_sampling_request(
    config: RefreshConfig,
    splits: list[Split],
    num_candidates: int,
    seed: int,
    greedy: bool = True,
    older_policies: Sequence[str] = (),
) -> SamplingRequest:
    """Answers to the prompts of these splits, sampled as [generate] says.

    `greedy`: the greedy answer too; answers of `older_policies` are as good.
    """
    generate = config.generate
    return SamplingRequest(
        splits=splits,
        num_candidates=num_candidates,
        greedy=greedy,
        temperature=generate.temperature,
        top_p=generate.top_p,
        max_tokens=generate.max_tokens,
        seed=seed,
        shard_prompts=generate.shard_prompts,
        engine=generate.engine,
        dtype=config.policy.dtype,
        max_model_len=config.policy.max_model_len,
        older_policies=list(older_policies),
        pixel_limits=config.policy.pixel_limits,
    )


def build_request(config: RefreshConfig, older_policies: Sequence[str] = ()) -> SamplingRequest:
    """What the generate stage samples; answers of these older policies are as good."""
    generate = config.generate
    return build_sampling_request(
        config, ["train"], generate.num_candidates, generate.seed, False, older_policies
    )


def compute_key(config: RefreshConfig, policy: PolicyRef, samples: SampleSet) -> str:
    """Samples, policy and sampling settings, and which older policies are young enough."""
    return compute_candidates_key(build_own_request(config, policy), policy, samples)


def run(context: StageContext, key: str, samples: SampleSet) -> CandidateSet:
    """Candidates of every training prompt."""
    request = build_own_request(context.config, context.policy)
    return make_candidates(context, key, request, context.policy, samples)


def build_own_request(config: RefreshConfig, policy: PolicyRef) -> SamplingRequest:
    """What a refresh of this configuration asks, with the older policies as the store has them."""
    max_age = config.generate.max_policy_age
    older = find_older_policies(open_store(config.store), policy.digest, max_age)
    return build_request(config, older)
