"""What identifies candidates: the key of a whole set, and of what its answers were sampled.

Two sets of equal `sampling_digest` asked the same policy in the same way, of whatever prompts, so
that an answer of one is an answer of the other.
"""

from __future__ import annotations

from perpo_core.store.keys import compute_hash, compute_key
from perpo_core.store.provenance import as_parents
from schemas.artifact import SampleSet
from schemas.run import PolicyRef, SamplingRequest

KIND = "candidates"
VERSION = 3
NOT_OF_AN_ANSWER = {"splits", "shard_prompts", "older_policies"}


def compute_candidates_key(request: SamplingRequest, policy: PolicyRef, samples: SampleSet) -> str:
    """Samples, policy and request; how many processes or threads work on it does not matter."""
    config = {"policy_digest": policy.digest, **request.model_dump(mode="json")}
    return compute_key("generate", VERSION, as_parents(samples), config)


def compute_sampling_digest(request: SamplingRequest, policy_digest: str) -> str:
    """All that an answer to a given prompt depends on."""
    asked = request.model_dump(mode="json", exclude=NOT_OF_AN_ANSWER)
    return compute_hash(["sampling", VERSION, policy_digest, asked])


def list_policies(request: SamplingRequest, policy: PolicyRef) -> list[str]:
    """The policies whose answers a set may hold, the one that is asked first."""
    return [policy.digest, *request.older_policies]
