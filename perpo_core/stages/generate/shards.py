"""The shards of a candidate set: which prompts each holds, and how its rows come together.

The layout depends on the samples alone: `shard_prompts` distinct prompts at a time, in the samples'
order. Whether a prompt's answers were sampled now or taken over does not show in it, so that a set
that grew is the set that would have been made at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow as pa

from perpo_core.policy.prompts import list_prompt_ids
from perpo_core.policy.refusals import get_refusals, put_refusals, read_all_refusals
from perpo_core.stages.generate.identity import compute_sampling_digest, list_policies
from perpo_core.store.row_index import RowIndex, sort_by_ids
from perpo_core.store.workspace import Workspace
from schemas.arrow import CANDIDATES
from schemas.artifact import FileRef
from schemas.base import Digest
from schemas.run import PolicyRef, SampleFiles, SamplingRequest


@dataclass(frozen=True)
class Shard:
    """One part of a candidate set."""

    number: int
    sampling_digest: Digest
    """Of its answers."""
    policies: list[Digest]
    """Whose answers it may hold, the one that is asked first."""
    prompt_ids: list[str]

    @property
    def name(self) -> str:
        return name_part(self.number)

    @property
    def made_of(self) -> list[object]:
        """Who is asked what, and how; of whatever set."""
        return [self.sampling_digest, self.policies, self.prompt_ids]

    def find(self, workspace: Workspace) -> FileRef | None:
        """The finished part, if it is there."""
        return workspace.find_part(self.name, self.made_of)

    def list_unanswered(self, answered: Collection[str]) -> list[str]:
        """Its prompts that must be sampled."""
        return [prompt_id for prompt_id in self.prompt_ids if prompt_id not in answered]

    def write(self, workspace: Workspace, sampled: pa.Table | None, reusable: RowIndex) -> FileRef:
        """Write the part from the rows just sampled and, of the other prompts, those there are.

        Refusals, of prompts without rows, come from where the rows come from.
        """
        reused_ids = [prompt_id for prompt_id in self.prompt_ids if prompt_id in reusable.file_of]
        # Parquet hands list items back under another name, which the bytes of a file would show.
        reused = [reusable.take(reused_ids).cast(CANDIDATES)] if reused_ids else []
        num_reused = sum(table.num_rows for table in reused)
        tables = reused + ([sampled] if sampled is not None else [])
        rows = sort_by_ids(pa.concat_tables(tables), "prompt_id", self.prompt_ids)
        refusals = read_all_refusals({reusable.file_of[prompt_id] for prompt_id in reused_ids})
        refusals |= get_refusals(sampled.schema) if sampled is not None else {}
        # A file that answers were taken from may tell of what an older policy refused.
        open_ids = set(self.prompt_ids) - set(rows["prompt_id"].to_pylist())
        rows = put_refusals(rows, {i: refusals[i] for i in self.prompt_ids if i in open_ids})
        return workspace.write_part(self.name, rows, self.made_of, num_reused, self.sampling_digest)


def name_part(number: int) -> str:
    """The file of a shard."""
    return f"part-{number:05d}.parquet"


def list_shards(samples: SampleFiles, request: SamplingRequest, policy: PolicyRef) -> list[Shard]:
    """All shards of a request; images are not read."""
    digest = compute_sampling_digest(request, policy.digest)
    ids, size = list_prompt_ids(samples, request.splits), request.shard_prompts
    starts = range(0, len(ids), size)
    policies = list_policies(request, policy)
    return [Shard(n, digest, policies, ids[start : start + size]) for n, start in enumerate(starts)]


def group_units(
    shards: Sequence[Shard], answered: Collection[str], shard_prompts: int
) -> list[list[int]]:
    """Shards to deal out together, by number: as many as have no more new prompts than one shard.

    A few new prompts may lie in every shard, or many in a few: so every engine gets its share.
    """
    units: list[list[int]] = []
    room = 0
    for shard in shards:
        num_new = len(shard.list_unanswered(answered))
        if num_new > room:
            units.append([])
            room = shard_prompts
        units[-1].append(shard.number)
        room -= num_new
    return units
