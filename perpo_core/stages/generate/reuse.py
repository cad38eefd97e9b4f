"""Which answers are there already: candidates of earlier sets, by prompt and policy.

A prompt's answers are taken over from a set of the same sampling digest, of the present policy
before an older one, and of the newest set that has them; where no set has them, from a finished
part of a sampling that was interrupted. Only sets whose files all verify, and parts that do, are
taken from, and only those that would give something are verified.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import pyarrow as pa

from perpo_core.policy.refusals import read_refusals
from perpo_core.stages.earlier import EarlierFiles, list_earlier
from perpo_core.stages.generate.identity import KIND, compute_sampling_digest, list_policies
from perpo_core.stages.stage import StageContext
from perpo_core.store.row_index import RowIndex, read_distinct
from schemas.artifact import AnyArtifact, CandidateSet
from schemas.run import PolicyRef, SamplingRequest


def find_reusable_files(
    context: StageContext,
    key: str,
    request: SamplingRequest,
    policy: PolicyRef,
    prompt_ids: Collection[str],
) -> list[Path]:
    """The verified files that have some of the prompts' answers, newest first; [] with force."""
    earlier = [] if context.force or not prompt_ids else _list_files(context, key, request, policy)
    policies = list_policies(request, policy)
    while True:
        files = list(dict.fromkeys(path for each in earlier for path in each.paths))
        index = index_candidates(files, policies, prompt_ids, context.log)
        used = set(index.file_of.values())
        sound = [each for each in earlier if used.isdisjoint(each.paths) or each.is_sound]
        if len(sound) == len(earlier):
            return [path for path in files if path in used]
        earlier = sound


def index_candidates(
    files: Sequence[Path],
    policies: Sequence[str],
    prompt_ids: Collection[str],
    warn: Callable[[str], None],
) -> RowIndex:
    """Where these prompts' answers lie: the earliest listed policy's, then in the first file.

    A refusal of the first policy counts like an answer: asked in the same way, it refuses again.
    """
    rank = {digest: number for number, digest in enumerate(policies)}
    best: dict[str, tuple[int, Path]] = {}
    unsettled = set(prompt_ids)
    for path in files:
        if not unsettled:
            break
        for prompt_id, digest in _read_outcomes(path, policies[0], warn):
            known = best[prompt_id][0] if prompt_id in best else len(policies)
            if prompt_id in unsettled and rank.get(digest, len(policies)) < known:
                best[prompt_id] = (rank[digest], path)
        unsettled -= {prompt_id for prompt_id, (number, _) in best.items() if number == 0}
    return RowIndex("prompt_id", {prompt_id: path for prompt_id, (_, path) in best.items()})


def _read_outcomes(path: Path, policy: str, warn: Callable[[str], None]) -> list[tuple[str, ...]]:
    """(prompt_id, policy) of all that a file has answers to, and of what this policy refused."""
    answered = read_distinct(path, ["prompt_id", "policy_digest"], warn)
    try:
        refusals = read_refusals(path)
    except (
        OSError,
        pa.ArrowException,
        ValueError,
        TypeError,
    ):  # damaged: verifying it would say so
        return []
    mine = [key for key, refusal in refusals.items() if refusal.policy_digest == policy]
    return answered + [(prompt_id, policy) for prompt_id in mine]


def _list_files(
    context: StageContext, key: str, request: SamplingRequest, policy: PolicyRef
) -> list[EarlierFiles]:
    """Files that may hold such answers; not those of the set that is being made."""
    wanted = {compute_sampling_digest(request, each) for each in list_policies(request, policy)}

    def fits(artifact: AnyArtifact) -> bool:
        return isinstance(artifact, CandidateSet) and artifact.sampling_digest in wanted

    found = list_earlier(context, KIND, key, fits, wanted)
    # At an address a file must be fetched, and thereby verified, before it can be looked into.
    return [each for each in found if not context.store.is_remote or each.is_sound]
