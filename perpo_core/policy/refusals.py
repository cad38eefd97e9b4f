"""Prompts that got no answers, since the policy cannot take them: counted, named, asked once.

A refusal lies where the answers would: in its shard's file, among the metadata of the Parquet
schema, so that whatever finds the one finds the other, a resumed set and later sets alike. A shard
that refused nothing has no such metadata. A finished set lists its refusals in dropped.parquet too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from perpo_core.store.store import Store
from perpo_core.store.workspace import Workspace
from schemas.arrow import DROPPED
from schemas.artifact import CandidateSet, FileRef
from schemas.base import StageName

# Reasons, the same for all prompts of the kind: counts are kept by them.
TOO_LONG = "prompt too long for the model"
UNREADABLE = "refused by the policy's processor"
BY_ENGINE = "refused by the engine"

DROPPED_FILE = "dropped.parquet"
METADATA_KEY = b"perpo.refusals"


@dataclass(frozen=True)
class Refusal:
    """Why a prompt got no answers."""

    reason: str
    detail: str
    """One sentence, with the value."""
    policy_digest: str = ""
    """Who was asked; who samples puts it in."""


Refusals = Mapping[str, Refusal]
"""prompt_id, or whatever else is counted, -> why it has no answers."""


def put_refusals(table: pa.Table, refusals: Refusals) -> pa.Table:
    """A shard's table that tells of these refusals, and of no other."""
    told = {prompt_id: asdict(refusal) for prompt_id, refusal in refusals.items()}
    return table.replace_schema_metadata({METADATA_KEY: json.dumps(told)} if told else None)


def get_refusals(schema: pa.Schema) -> dict[str, Refusal]:
    """Those that a shard's table tells of."""
    told = (schema.metadata or {}).get(METADATA_KEY, b"{}")
    return {prompt_id: Refusal(**fields) for prompt_id, fields in json.loads(told).items()}


def read_refusals(path: Path) -> dict[str, Refusal]:
    """Those of a shard's file, whose rows stay on disk."""
    return get_refusals(pq.read_schema(path))


def read_all_refusals(paths: Iterable[Path]) -> dict[str, Refusal]:
    """Those of several shards."""
    return {key: refusal for path in paths for key, refusal in read_refusals(path).items()}


def count_reasons(refusals: Refusals) -> dict[str, int]:
    """Reason -> prompts."""
    return dict(Counter(refusal.reason for refusal in refusals.values()))


def describe_refusals(refusals: Refusals) -> str:
    """Counts by reason, and the first prompt of all."""
    counts = ", ".join(f"{reason} {count}" for reason, count in count_reasons(refusals).items())
    first = next(iter(refusals))
    return f"{counts}; the first is {first[:12]}: {refusals[first].detail}"


def write_dropped(workspace: Workspace, refusals: Refusals, stage: StageName) -> list[FileRef]:
    """dropped.parquet of an artifact, where there is anything to list; ids are the stage's own."""
    if not refusals:
        return []
    rows = [
        {"stage": stage, "id": key, "reason": refusal.reason, "detail": refusal.detail}
        for key, refusal in refusals.items()
    ]
    return [workspace.write_table(DROPPED_FILE, pa.Table.from_pylist(rows, DROPPED))]


def load_refusals(store: Store, candidates: CandidateSet) -> dict[str, Refusal]:
    """Why prompts of a finished set have no answers."""
    rows = [
        row
        for path in store.paths(candidates, DROPPED_FILE)
        for row in pq.read_table(path).to_pylist()
    ]
    return {row["id"]: Refusal(row["reason"], row["detail"]) for row in rows}
