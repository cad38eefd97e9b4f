"""Which answers are there already: candidates of earlier sets, by prompt and policy.

A prompt's answers are taken over from a set of the same sampling digest, of the present policy
before an older one, and of the newest set that has them. Only sets whose files all verify are taken
from, and only those that would give something are verified.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from perpo_core.generate.identity import KIND, compute_sampling_digest, list_policies
from perpo_core.row_index import RowIndex, read_distinct
from perpo_core.stage import StageContext
from perpo_core.store import DamagedArtifact
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
    sets = [] if context.force or not prompt_ids else _list_sets(context, key, request, policy)
    policies = list_policies(request, policy)
    while True:
        files = [path for each in sets for path in context.store.paths(each)]
        index = index_candidates(files, policies, prompt_ids, context.log)
        used = set(index.file_of.values())
        sound = [each for each in sets if _is_unused_or_sound(context, each, used)]
        if len(sound) == len(sets):
            return [path for path in files if path in used]
        sets = sound


def index_candidates(
    files: Sequence[Path],
    policies: Sequence[str],
    prompt_ids: Collection[str],
    warn: Callable[[str], None],
) -> RowIndex:
    """Where these prompts' answers lie: the earliest listed policy's, then in the first file."""
    rank = {digest: number for number, digest in enumerate(policies)}
    best: dict[str, tuple[int, Path]] = {}
    unsettled = set(prompt_ids)
    for path in files:
        if not unsettled:
            break
        for prompt_id, digest in read_distinct(path, ["prompt_id", "policy_digest"], warn):
            known = best[prompt_id][0] if prompt_id in best else len(policies)
            if prompt_id in unsettled and rank.get(digest, len(policies)) < known:
                best[prompt_id] = (rank[digest], path)
        unsettled -= {prompt_id for prompt_id, (number, _) in best.items() if number == 0}
    return RowIndex("prompt_id", {prompt_id: path for prompt_id, (_, path) in best.items()})


def _list_sets(
    context: StageContext, key: str, request: SamplingRequest, policy: PolicyRef
) -> list[CandidateSet]:
    """Sets that may hold such answers, newest first; not the one that is being made."""
    wanted = {compute_sampling_digest(request, each) for each in list_policies(request, policy)}
    found = [
        each
        for each in context.store.list_committed(KIND)
        if isinstance(each, CandidateSet) and each.sampling_digest in wanted and each.key != key
    ]
    # At an address a set must be fetched, and thereby verified, before it can be looked into.
    return [each for each in found if not context.store.is_remote or _is_sound(context, each)]


def _is_unused_or_sound(context: StageContext, artifact: AnyArtifact, used: set[Path]) -> bool:
    return used.isdisjoint(context.store.paths(artifact)) or _is_sound(context, artifact)


def _is_sound(context: StageContext, artifact: AnyArtifact) -> bool:
    try:
        context.store.verify(artifact)
    except DamagedArtifact as damage:
        context.log(f"{damage}; nothing is taken from it")
        return False
    return True
